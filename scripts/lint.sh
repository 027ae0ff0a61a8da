#!/usr/bin/env bash
# Formatting, a short clang-tidy list, cppcheck, shellcheck and Python syntax. --fix formats instead.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t sources < <(git ls-files --cached --others --exclude-standard '*.c' '*.h' '*.cpp' | grep -v '^build')
if [ "${1:-}" = --fix ]; then
    clang-format-14 -i "${sources[@]}"
    exit 0
fi
echo "lint: clang-format"
clang-format-14 --dry-run --Werror "${sources[@]}"
scripts/build.sh release
echo "lint: clang-tidy"
mapfile -t units < <(git ls-files --cached --others --exclude-standard 'src/*.c' 'cli/*.c' 'engines/*.c')
# One file each: the va_list check of version 14 carries its state from one file to the next.
printf '%s\0' "${units[@]}" | xargs -0 -n 1 -P "$(nproc)" clang-tidy-14 -p build/release --quiet \
    --warnings-as-errors='*' 2> >(grep -v 'warnings\? generated\|Suppressed\|Use -header-filter' >&2)
echo "lint: cppcheck"
# The whole-program checks (ctu*) take an out-parameter for a value that is read.
cppcheck --quiet --std=c11 --std=c++17 --enable=warning,performance,portability --inline-suppr --error-exitcode=1 \
    --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=ctuuninitvar \
    --suppress=ctunullpointer -j "$(nproc)" -Iinclude src cli engines
echo "lint: shell and Python"
mapfile -t shell < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)
shellcheck "${shell[@]}"
mapfile -t python < <(git ls-files --cached --others --exclude-standard '*.py')
python3 -m py_compile "${python[@]}"
echo "lint: clean"
