#!/usr/bin/env bash
# The Transformers worker on a CUDA machine, in about six minutes: cuda.sh FOLDER [options of cuda.py].
# Needs a release build of kvat (KVAT_BUILD, else build/release) and a Python with torch and transformers (KVAT_PYTHON, else
# python3). Nothing is downloaded; models are random weights. Results are JSON files in FOLDER, written as they come.
set -euo pipefail
cd "$(dirname "$0")/../.."

[ $# -ge 1 ] || {
    sed -n '2,4s/^# \{0,1\}//p' "$0" >&2
    exit 2
}
out=$1
shift
mkdir -p "$out"
out=$(cd "$out" && pwd)
export KVAT_BUILD=${KVAT_BUILD:-$PWD/build/release} KVAT_PYTHON=${KVAT_PYTHON:-$(command -v python3)}
export KVAT=$KVAT_BUILD/bin/kvat KVAT_CACHE_DIR=${KVAT_CACHE_DIR:-$out/cache} XDG_STATE_HOME=$out/state HF_HUB_OFFLINE=1
# The build may have been moved here: these say where its parts are.
export KVAT_LIBEXEC_DIR=$KVAT_BUILD/libexec/kvat KVAT_DATA_DIR=$KVAT_BUILD/share/kvat
export PYTHONPATH=$PWD/engines/transformers:$PWD/bench/transformers PYTHONDONTWRITEBYTECODE=1
status=0
"$KVAT_PYTHON" bench/transformers/cuda.py -o "$out" "$@" || status=$?
rm -rf "$out/cache" "$out/state"
exit "$status"
