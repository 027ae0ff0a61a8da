#!/usr/bin/env bash
# Line coverage of src/ by the unit tests, one line a file.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh coverage
ctest --test-dir build/coverage -E '^engines/llamacpp/' -j "$(nproc)" --output-on-failure >/dev/null
cd build/coverage
find . -name '*.gcda' -path '*src*' -print0 | xargs -0 gcov -n 2>/dev/null |
    awk -F"[':%]" '/^File .*\/src\//{f=$2; sub(/.*\/src\//, "", f)} /^Lines executed/{if(f!=""){print $2+0, f; f=""}}' |
    sort -k2 -u | sort -n
