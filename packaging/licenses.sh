#!/usr/bin/env bash
# Copies into FOLDER the copyright files of the Debian packages whose libraries a wheel carries, one file a package:
# licenses.sh FOLDER FILE…, where a FILE is a program, whose shared libraries count, or a library that was linked into one.
set -euo pipefail
to=$1
shift
mkdir -p "$to"

libraries() {
    for file in "$@"; do
        case $file in
        *.a | *.so*) echo "$file" ;;
        *) ldd "$file" | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' ;;
        esac
    done
}

# Those of libc and the compiler's runtime are on every machine and stay outside.
libraries "$@" | grep -vE '/lib(c|m|gcc_s)\.so' | sort -u | while read -r file; do
    file=$(readlink -f "$file")
    package=$(dpkg-query -S "$file" "${file#/usr}" 2>/dev/null | sed -n '1s/[:,].*//p' || true)
    notice=/usr/share/doc/$package/copyright
    if [ -z "$package" ] || [ ! -e "$notice" ]; then
        echo "licenses.sh: no Debian package with a copyright file has $file" >&2
        exit 1
    fi
    install -m 644 "$notice" "$to/$package.txt"
done
