#!/usr/bin/env bash
# Prints the prefix of a libllama to build against: $KVAT_LLAMA_PREFIX, a system installation with a CMake package, or
# our own pinned build (build-libllama.sh, which also makes the peers for --peers).
# A system installation is passed over for --peers unless it has llama-server and llama-bench.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ -n "${KVAT_LLAMA_PREFIX:-}" ]; then
    echo "$KVAT_LLAMA_PREFIX"
    exit 0
fi
for prefix in /usr/local /usr; do
    for config in "$prefix"/lib/cmake/llama/llama-config.cmake "$prefix"/lib/*/cmake/llama/llama-config.cmake; do
        [ -e "$config" ] || continue
        if [ "${1:-}" = --peers ] && ! { [ -x "$prefix/bin/llama-server" ] && [ -x "$prefix/bin/llama-bench" ]; }; then
            continue
        fi
        echo "$prefix"
        exit 0
    done
done
exec "$here/build-libllama.sh" "$@"
