#!/usr/bin/env bash
# Checks and tests the Python client: the wheel, in a venv of its own. Arguments
# go to pytest. STATERAFT_BINARY may name a server that was built before.
set -euo pipefail
cd "$(dirname "$0")"

cache=$(cd ../.. && pwd)/.cache/python-sdk
venv=$cache/venv
if ! cmp -s requirements.txt "$venv/requirements.txt"; then
	rm -rf "$venv"
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt
	cp requirements.txt "$venv/requirements.txt"
fi

export MYPY_CACHE_DIR=$cache/mypy RUFF_CACHE_DIR=$cache/ruff PYTHONDONTWRITEBYTECODE=1
unset PYTHONPATH
bin=$venv/bin

"$bin/ruff" format --quiet --check .
"$bin/ruff" check --quiet .

rm -rf "$cache/dist"
"$bin/python" -m build --wheel --no-isolation --outdir "$cache/dist" . >/dev/null
"$bin/pip" install --quiet --disable-pip-version-check --no-deps --force-reinstall "$cache"/dist/stateraft-*.whl

"$bin/mypy" src examples bench tests
"$bin/pytest" --quiet -o cache_dir="$cache/pytest" "$@"
