# kvat: `make` shows the targets. The work is in CMakePresets.json and scripts/.
PREFIX ?= /usr/local
.DEFAULT_GOAL := help
.PHONY: help setup build demo check install lint format asan coverage fuzz bench clean

help: ## show this list
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' Makefile | expand -t 18

setup: ## install what building and testing need (asks before sudo, unless CI or YES=1)
	@scripts/setup.sh build test lint

build: ## build kvat and its workers (release), libllama once into the cache
	@scripts/setup.sh build
	@scripts/build.sh release --no-tests

demo: ## install what is missing, build, tune a synthetic GPT-2, show where the report is
	@scripts/setup.sh build
	@scripts/demo.sh

check: ## every test: units under sanitizers, faults, real engines, the report in a browser
	@scripts/setup.sh build test
	@scripts/check.sh

install: build ## install into PREFIX (default /usr/local)
	@cmake --install build/release --prefix "$(PREFIX)"

lint: ## formatting, clang-tidy, cppcheck, shell and Python checks
	@scripts/setup.sh build lint
	@scripts/lint.sh

format: ## format the C sources
	@scripts/lint.sh --fix

asan: ## unit tests under AddressSanitizer and UBSan only
	@scripts/check.sh units

coverage: ## line coverage of the unit tests
	@scripts/coverage.sh

fuzz: ## each fuzz target for a minute (FUZZ_SECONDS=60)
	@scripts/fuzz.sh

bench: ## side-by-side measurements (bench/README.md)
	@scripts/bench.sh

clean: ## remove build folders (the engine cache stays)
	@rm -rf build kvat-demo
