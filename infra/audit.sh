#!/usr/bin/env bash
# Looks the pinned packages up among published advisories, by pip-audit in an environment of its own.
# Usage: infra/audit.sh [PYTHON]. Ends with 0 where none is known, 1 where one is, 2 where it couldn't look.
set -euo pipefail
cd "$(dirname "$0")"
python=${1:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
"$folder/venv/bin/pip" install -qq --disable-pip-version-check pip-audit

look() {
  # --strict: a package that couldn't be looked up is an error rather than a package without advisories.
  "$folder/venv/bin/pip-audit" --strict --no-deps --disable-pip --progress-spinner off --requirement "$1" 2>&1
}

# Something that is known to be bad must be found, or what is found of ours says nothing.
echo "jinja2==2.10" > "$folder/bad.txt"
if ! look "$folder/bad.txt" | grep --quiet "CVE-\|GHSA-\|PYSEC-"; then
  look "$folder/bad.txt" | grep "ERROR" >&2 || true
  echo "error: advisories can't be looked up from here; jinja2 2.10 has some, and none was found. Nothing was audited." >&2
  exit 2
fi
look constraints-cpu.txt
