#!/usr/bin/env bash
# Configures and builds one preset. libllama is taken from the system when its CMake package is there, else
# built once into the cache. Arguments: PRESET [--no-tests]
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:?usage: build.sh PRESET [--no-tests]}
shift
args=()
case ${1:-} in
--no-tests) args+=(-DKVAT_TESTS=OFF) ;;
*) [ "$preset" = fuzz ] || args+=(-DKVAT_TESTS=ON) ;;
esac
if [ "$preset" != fuzz ]; then
    if [ -z "${KVAT_LLAMA_PREFIX:-}" ]; then
        KVAT_LLAMA_PREFIX=$(engines/llamacpp/find-libllama.sh)
    fi
    export KVAT_LLAMA_PREFIX
    args+=("-DKVAT_LLAMA_PREFIX=$KVAT_LLAMA_PREFIX")
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cmake --preset "$preset" "${args[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
if ! cmake --build --preset "$preset" >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi
