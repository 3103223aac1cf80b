#!/usr/bin/env bash
# Makes .venv with what the project and its tests need, at the versions of a constraints file.
# Usage: infra/setup.sh PYTHON CONSTRAINTS. Needs no root; pip's own environment variables are respected. TORCH_INDEX is
# an index of torch's builds to look in besides, such as PyTorch's own of those for CPUs.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 constraints=$2

fail() {
  printf '%s\n' "error: $1" >&2
  exit 1
}

[ -n "$python" ] || fail "There is no python3 here. Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv)."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "$("$python" --version) is too old: install Python 3.11 or newer, or name one with make setup PYTHON=/path/to/python3.11."

moved() { [ -f .venv/home ] && [ "$(cat .venv/home)" != "$PWD" ]; }  # scripts in it name their folder
if moved || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  echo "Setting up .venv with $("$python" --version): some minutes, and 2.5 GB of disk with torch for CPUs."
  rm -rf .venv
  if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv .venv
  elif "$python" -m pip --version >/dev/null 2>&1; then
    # Debian keeps ensurepip in python3-venv; a pip of the system can fill an environment too.
    "$python" -m venv --without-pip .venv
    "$python" -m pip --python .venv/bin/python install -qq pip
  else
    fail "This Python has neither ensurepip nor pip. On Debian and Ubuntu: apt install python3-venv."
  fi
fi

echo "$PWD" > .venv/home

# Read from pyproject.toml by hand: pip knows dependency groups only since 25.1.
.venv/bin/python - > .venv/dev.txt <<'PYTHON'
import tomllib
with open("pyproject.toml", "rb") as file:
    print("\n".join(tomllib.load(file)["dependency-groups"]["dev"]))
PYTHON
.venv/bin/python -m pip install -qq --disable-pip-version-check \
  ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint "$constraints" --requirement .venv/dev.txt --editable .
