#!/usr/bin/env bash
# Runs every test and ends with one line: "N passed, N failed, N skipped". `check.sh units` runs the units only.
set -euo pipefail
cd "$(dirname "$0")/.."

out=build/check
rm -rf "$out"
mkdir -p "$out"
failed=0

# A locale whose decimal point is a comma, for the tests that numbers do not follow it.
localedef -i de_DE -c -f UTF-8 "$out/de_DE.UTF-8" 2>/dev/null || true # warnings make it exit 1 though it wrote
test -d "$out/de_DE.UTF-8"
export LOCPATH=$PWD/$out KVAT_NO_SKIP=1

# The Python that has the test packages: Debian's, unless another in PATH has them too.
python=
for candidate in python3 /usr/bin/python3; do
    if "$candidate" -c 'import jsonschema, pytest, yaml' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || {
    echo "check: no python3 with pytest, jsonschema and yaml (make setup installs them)" >&2
    exit 1
}

echo "check: libllama, llama-server and llama-bench"
KVAT_LLAMA_PREFIX=$(engines/llamacpp/find-libllama.sh --peers)
export KVAT_LLAMA_PREFIX

run_ctest() { # NAME BUILD-FOLDER CTEST-ARGS…
    local name=$1 folder=$2
    shift 2
    ctest --test-dir "$folder" --output-on-failure --no-tests=error --test-output-size-passed 10000000 \
        --output-junit "$PWD/$out/$name.xml" "$@" || failed=1
}

echo "check: units, faults and fuzz corpora under AddressSanitizer and UBSan"
scripts/build.sh dev
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1
run_ctest units build/dev -E '^(engines/llamacpp/|bench/|cli$)' -j "$(nproc)"

if [ "${1:-}" != units ]; then
    echo "check: real engines"
    scripts/build.sh release
    run_ctest engines build/release -R '^engines/'
    echo "check: the search against its targets"
    run_ctest bench build/release -R '^bench/' -j "$(nproc)"

    echo "check: command line, protocol, files, report, and the servers that snippets start"
    model=$(build/release/bin/kvat engines --model synthetic:gpt2 --json | "$python" scripts/model_file.py)
    KVAT_BUILD=$PWD/build/release KVAT=$PWD/build/release/bin/kvat KVAT_TEST_GGUF=$model \
        KVAT_LLAMA_SERVER=$KVAT_LLAMA_PREFIX/bin/llama-server \
        "$python" -m pytest -q -rs -p no:cacheprovider --junitxml "$out/python.xml" tests/python tests/engines/report \
        </dev/null || failed=1
    echo "check: PyTorch and Transformers"
    KVAT_PYTHON=$(engines/transformers/find-transformers.sh)
    # KVAT_PYTHON is for these tests alone: the others see an engine that is not installed.
    KVAT_BUILD=$PWD/build/release KVAT=$PWD/build/release/bin/kvat \
        "$KVAT_PYTHON" -m pytest -q -rs -p no:cacheprovider -W ignore --junitxml "$out/transformers.xml" \
        tests/engines/transformers </dev/null || failed=1
    echo "check: command line again, sanitized"
    KVAT_BUILD=$PWD/build/dev KVAT=$PWD/build/dev/bin/kvat \
        "$python" -m pytest -q -rs -p no:cacheprovider --junitxml "$out/python-dev.xml" -m "not browser and not engine and not release" \
        tests/python </dev/null || failed=1
    echo "check: the Python package, as its wheel brings it"
    scripts/check-package.sh --junitxml "$PWD/$out/package.xml" </dev/null || failed=1
fi
"$python" scripts/tally.py "$out"/*.xml || failed=1
exit "$failed"
