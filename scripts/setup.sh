#!/usr/bin/env bash
# Installs the Debian packages that are missing for the groups named: build, test, lint.
# Asks before it uses sudo, unless CI or YES=1 is set. Nothing is done when nothing is missing.
set -euo pipefail

declare -A groups=(
    [build]="gcc g++ cmake ninja-build pkg-config git ca-certificates python3 python3-pip
             libjansson-dev libuv1-dev libsqlite3-dev libhwloc-dev libsodium-dev libutf8proc-dev libpopt-dev
             liblapacke-dev liblapack-dev libblas-dev"
    [test]="libcmocka-dev python3-pytest python3-jsonschema python3-yaml python3-venv python3-dev locales chromium"
    [lint]="clang-14 libclang-rt-14-dev clang-format-14 clang-tidy-14 cppcheck shellcheck"
)

wanted=()
for group in "$@"; do
    if [ -z "${groups[$group]:-}" ]; then
        echo "setup: unknown group '$group' (build, test, lint)" >&2
        exit 2
    fi
    read -r -d '' -a names <<<"${groups[$group]}" || true
    wanted+=("${names[@]}")
done

if ! command -v dpkg-query >/dev/null; then
    echo "setup: this is not Debian; install the equivalents of: ${wanted[*]}" >&2
    exit 0
fi

missing=()
for name in "${wanted[@]}"; do
    [ "$(dpkg-query -W -f='${Status}' "$name" 2>/dev/null)" = "install ok installed" ] || missing+=("$name")
done
[ ${#missing[@]} -eq 0 ] && exit 0

sudo=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || {
        echo "setup: missing packages, and no sudo to install them: ${missing[*]}" >&2
        exit 1
    }
    sudo=(sudo)
    if [ -z "${CI:-}" ] && [ "${YES:-}" != 1 ]; then
        echo "kvat needs these packages: ${missing[*]}"
        read -r -p "Install them with sudo apt-get? [y/N] " answer
        [[ $answer =~ ^[Yy] ]] || exit 1
    fi
fi
echo "setup: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
"${sudo[@]}" apt-get update -qq
"${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
