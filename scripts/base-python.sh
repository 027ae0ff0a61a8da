#!/usr/bin/env bash
# Prints a Python 3.11 or newer that can make environments. Its argument names who asks, for the message where there is none.
set -euo pipefail
for candidate in /usr/bin/python3 python3; do
    if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "$candidate"
        exit 0
    fi
done
echo "$1: no Python 3.11 or newer with venv (make setup installs python3-venv)" >&2
exit 1
