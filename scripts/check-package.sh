#!/usr/bin/env bash
# Tests the Python package as its users get it: the wheel, installed into an environment that has nothing else but pytest.
# Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

tools=$(scripts/wheel.sh --tools)
wheel=$(scripts/wheel.sh)
transformers=$(engines/transformers/find-transformers.sh)
venv=build/package-venv
if [ "$(cat "$venv/.wheel" 2>/dev/null)" != "$wheel" ]; then
    rm -rf "$venv"
    "$tools/bin/python" -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-index --find-links "$tools/wheels" "$wheel" pytest jsonschema
    echo "$wheel" >"$venv/.wheel"
fi
# Nothing of a build may stand in for what the wheel has.
unset KVAT_LIBEXEC_DIR KVAT_DATA_DIR KVAT_PYTHON PYTHONPATH LD_LIBRARY_PATH
KVAT_WHEEL=$wheel KVAT_TOOLS=$tools KVAT_TRANSFORMERS_PYTHON=$transformers "$venv/bin/python" -P -m pytest -q -rs -p no:cacheprovider "$@" tests/python_package
