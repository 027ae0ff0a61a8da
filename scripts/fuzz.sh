#!/usr/bin/env bash
# Runs every fuzz target for FUZZ_SECONDS (60) from its corpus; findings stay in build/fuzz/.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/build.sh fuzz
for target in build/fuzz/fuzz/fuzz_*; do
    [ -x "$target" ] || continue
    name=$(basename "$target")
    found=build/fuzz/found/$name
    mkdir -p "$found"
    echo "fuzz: $name"
    "$target" -max_total_time="${FUZZ_SECONDS:-60}" -print_final_stats=0 -verbosity=0 -artifact_prefix="$found/" \
        "$found" "fuzz/corpus/${name#fuzz_}"
done
