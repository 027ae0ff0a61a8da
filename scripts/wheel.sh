#!/usr/bin/env bash
# Builds the wheel into build/dist and prints its path; nothing is built when no source has changed. The libraries that the
# C program needs are copied into it, so that it runs on machines that have none of them.
# `wheel.sh --tools` only prints the folder of an environment that holds what builds and tests it (the extra `dev` of
# pyproject.toml), made once in the cache, with the packages themselves in its folder wheels/.
set -euo pipefail
cd "$(dirname "$0")/.."
say() { echo "wheel: $*" >&2; }

base=$(scripts/base-python.sh wheel)
mapfile -t packages < <("$base" -c 'import tomllib
with open("pyproject.toml", "rb") as file:
    print(*tomllib.load(file)["project"]["optional-dependencies"]["dev"], sep="\n")')
key=$({
    printf '%s\n' "${packages[@]}"
    "$base" -c 'import sys, platform; print(sys.version, platform.machine())'
} | sha256sum | cut -c1-12)
tools=${KVAT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kvat}/python-tools-$key

log=$(mktemp)
trap 'rm -f "$log"' EXIT
run() {
    if ! "$@" >"$log" 2>&1 9>&-; then
        cat "$log" >&2
        say "failed: $*"
        exit 1
    fi
}

mkdir -p "$(dirname "$tools")"
exec 9>"$tools.lock"
flock 9
if [ ! -e "$tools/.ready" ]; then
    say "installing ${packages[*]}"
    rm -rf "$tools"
    run "$base" -m venv "$tools"
    run "$tools/bin/pip" download --disable-pip-version-check --dest "$tools/wheels" "${packages[@]}"
    run "$tools/bin/pip" install --disable-pip-version-check --no-index --find-links "$tools/wheels" "${packages[@]}"
    touch "$tools/.ready"
fi
if [ "${1:-}" = --tools ]; then
    echo "$tools"
    exit 0
fi

sources=(CMakeLists.txt LICENSE README.md pyproject.toml bench/*/CMakeLists.txt cli cmake data engines/CMakeLists.txt
    engines/sim engines/transformers include packaging python schemas scripts/wheel.sh src)
list() { git ls-files -z --cached --others --exclude-standard -- "${sources[@]}"; }

mkdir -p build
exec 9>build/wheel.lock # in place of the lock of the tools, which is every checkout's
flock 9
hash=$({
    echo "$key"
    list | { xargs -0 sha256sum 2>&1 || true; } # a deleted file counts as one, too
} | sha256sum | cut -c1-12)
dist=build/dist/$hash
if ! compgen -G "$dist/*.whl" >/dev/null; then
    rm -rf build/dist
    mkdir -p build/dist
    PATH=$tools/bin:$PATH
    run pip wheel --disable-pip-version-check --no-build-isolation --no-deps --config-settings=build-dir=build/wheel \
        --config-settings=cmake.define.KVAT_LICENSES=ON \
        --wheel-dir build/dist/unrepaired .
    run auditwheel repair --wheel-dir build/dist/repaired build/dist/unrepaired/*.whl
    mv build/dist/repaired "$dist"
    rm -rf build/dist/unrepaired
fi
echo "$PWD/$(compgen -G "$dist/*.whl")"
