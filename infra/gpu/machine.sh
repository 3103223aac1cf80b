#!/usr/bin/env bash
# The work on a machine with one GPU, no network and a Python that holds torch.
#
#   machine.sh receive LOAD …          takes in loads of pack.py; a call for each, or for several
#   machine.sh setup                   puts them together and makes the environment, offline
#   machine.sh data [ROWS]             held-out words (4000) from the carried assets
#   machine.sh test                    the tests marked gpu
#   machine.sh benchmark [FLAG …]      every stage on the GPU, as JSON
#   machine.sh train RECIPE [FLAG …]   trains, or goes on; with --minutes it ends in time
#   machine.sh restore FOLDER          takes back the run that an earlier machine left, before train
#
# HOLD keeps everything between calls (out/hold); what is to come back lies in OUT (HOLD/out), in files of at most
# PART_MIB MiB (15). PYTHON is the one with torch (python3).
set -euo pipefail
cd "$(dirname "$0")/../.."
HOLD=$(realpath --canonicalize-missing "${HOLD:-out/hold}")
OUT=${OUT:-$HOLD/out}
PART_MIB=${PART_MIB:-15}
system_python=${PYTHON:-python3}
python=$HOLD/venv/bin/python
mkdir -p "$HOLD/parts" "$HOLD/files" "$OUT"
export RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_TRACKING_URI=sqlite:///$HOLD/mlflow.db

fail() {
  printf '%s\n' "error: $1" >&2
  exit 2
}

receive() {
  [ $# -gt 0 ] || fail "Name the folders of the loads."
  for load in "$@"; do
    [ -f "$load/load.json" ] || fail "$load is no load: it has no load.json. Make loads by infra/gpu/pack.py."
    cp "$load"/* "$HOLD/parts/"
  done
  echo "$(find "$HOLD/parts" -name '*.part-*' | wc -l) parts are here."
}

join() { # every file of the loads, whole and sound
  "$system_python" - "$HOLD/parts" "$HOLD/files" <<'PYTHON'
import hashlib, json, pathlib, sys

parts, files = map(pathlib.Path, sys.argv[1:])
record = parts / "load.json"
if not record.is_file():
    sys.exit("error: No load has been received.")
unsound = []
for name, sha256 in json.loads(record.read_text())["files"].items():
    data = b"".join(part.read_bytes() for part in sorted(parts.glob(f"{name}.part-*")))
    if hashlib.sha256(data).hexdigest() == sha256:
        (files / name).write_bytes(data)
    else:
        unsound.append(name)
if unsound:
    sys.exit(f"error: Parts are missing or damaged of {', '.join(unsound)}. Carry over every load.")
PYTHON
}

setup() {
  join
  for archive in "$HOLD"/files/*.tar.xz; do
    [ ! -e "$archive" ] || tar -C "$HOLD" -xf "$archive"
  done
  "$system_python" -m venv --system-site-packages --without-pip "$HOLD/venv"
  # The system's Python may be an environment itself, whose packages --system-site-packages doesn't show.
  "$system_python" -c 'import site; print("\n".join(site.getsitepackages()))' \
    >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/machine.pth"
  "$system_python" -m pip --python "$python" install --quiet --no-index --no-deps --no-cache-dir \
    --disable-pip-version-check "$HOLD"/files/*.whl
  "$python" infra/gpu/check.py
}

train() {
  recipe=${1:?Name a recipe of jobs/train.py.}
  shift
  status=0
  "$python" jobs/train.py "$recipe" --output "$HOLD/runs" --gpu "$@" 2>&1 | tee "$OUT/train.log" || status=$?
  keep
  return "$status"
}

keep() { # runs and their entries in MLflow, in pieces that may come back
  rm -f "$OUT"/run.tar.part-*
  cd "$HOLD" && tar -cf - runs mlflow.db* | split --bytes="${PART_MIB}M" --numeric-suffixes --suffix-length=3 \
    - "$OUT/run.tar.part-"
}

data() {
  [ -d "$HOLD/assets" ] || fail "There are no assets: carry them over by pack.py --more out/assets."
  "$python" jobs/synthesize.py scene --rows "${1:-4000}" --split validation --assets "$HOLD/assets" \
    --output "$HOLD/held-out"
}

case ${1:-} in
  receive) shift && receive "$@" ;;
  setup) setup ;;
  data) shift && data "$@" ;;
  test) "$python" -m pytest -m gpu --junitxml "$OUT/tests.xml" tests/crnn tests/pipeline/checks ;;
  benchmark) shift && "$python" jobs/benchmark.py --device cuda --output "$OUT/benchmark.json" "$@" ;;
  train) shift && train "$@" ;;
  restore) cat "${2:?Name the folder with run.tar.part-*.}"/run.tar.part-* | tar -C "$HOLD" -xf - ;;
  *) sed -n '3,15s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
