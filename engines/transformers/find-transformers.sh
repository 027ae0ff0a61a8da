#!/usr/bin/env bash
# Prints the Python that has PyTorch and Transformers: $KVAT_PYTHON, or that of our own environment, which is made once
# from requirements.txt, with the versions of constraints.txt (about 5 GB and 5 minutes).
#
# The environment is <cache>/transformers-<key>, where the key hashes the pinned versions and the Python they are for. Where
# another one there holds just the same packages, it is a link to that.
# <cache> is $KVAT_CACHE_DIR, else $XDG_CACHE_HOME/kvat, else ~/.cache/kvat. The C++ extension that optimum-quanto
# compiles when it is first used is compiled here, lest it be compiled in the middle of a measurement.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

if [ -n "${KVAT_PYTHON:-}" ]; then
    echo "$KVAT_PYTHON"
    exit 0
fi
say() { echo "find-transformers: $*" >&2; }

base=$("$here/../../scripts/base-python.sh" find-transformers)
python_of() { "$1" -c 'import sys, platform; print(sys.version, platform.machine())'; }
key=$({
    grep -hv '^#' "$here/requirements.txt" "$here/constraints.txt"
    python_of "$base"
} | sha256sum | cut -c1-12)
cache=${KVAT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kvat}
prefix=$cache/transformers-$key
mkdir -p "$cache"

exec 9>"$prefix.lock"
if command -v flock >/dev/null; then flock 9; fi
if [ ! -e "$prefix/.ready" ]; then
    log=$prefix.log
    : >"$log"
    run() {
        if ! "$@" >>"$log" 2>&1 9>&-; then
            tail -n 30 "$log" >&2
            say "failed: $* (whole log: $log)"
            exit 1
        fi
    }
    rm -rf "$prefix"
    wanted=$(grep -v '^#' "$here/constraints.txt" | sort)
    for ready in "$cache"/transformers-*/.ready; do
        python=${ready%/.ready}/bin/python
        if [ -x "$python" ] && [ "$(python_of "$python")" = "$(python_of "$base")" ] &&
            [ "$("$python" -m pip --disable-pip-version-check freeze | sort)" = "$wanted" ]; then
            ln -s "${ready%/.ready}" "$prefix"
            echo "$prefix/bin/python"
            exit 0
        fi
    done
    say "installing PyTorch and Transformers (about 5 GB and 5 minutes, once; log: $log)"
    run "$base" -m venv "$prefix"
    run "$prefix/bin/python" -m pip install --disable-pip-version-check -r "$here/requirements.txt" \
        -c "$here/constraints.txt"
    say "compiling the extension of optimum-quanto"
    if ! PATH="$prefix/bin:$PATH" PYTHONPATH="$here" "$prefix/bin/python" -m kvat_transformers.warm >>"$log" 2>&1 9>&-; then
        say "that did not work (no C++ compiler or no Python.h?): quanto caches will be declared absent"
    fi
    touch "$prefix/.ready"
fi
echo "$prefix/bin/python"
