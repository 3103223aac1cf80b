#!/usr/bin/env bash
# The work on a machine with one GPU, no network and a Python that holds torch.
#
#   machine.sh receive LOAD …          takes in loads of pack.py; a call for each, or for several
#   machine.sh setup                   puts them together and makes the environment, offline
#   machine.sh data [ROWS]             held-out words (4000) from the carried assets
#   machine.sh test                    the tests marked gpu
#   machine.sh benchmark [FLAG …]      every stage on the GPU, as JSON
#   machine.sh train RECIPE [FLAG …]   trains, or goes on; with --minutes it ends in time
#   machine.sh start RECIPE [FLAG …]   the same in the background, over the end of the call that started it
#   machine.sh follow SECONDS          shows what the one in the background says, until it ends or for so long
#   machine.sh restore FOLDER          takes back the run that an earlier machine left, before train
#
# HOLD keeps everything between calls (out/hold); what is to come back lies in OUT (HOLD/out), in files of at most
# PART_MIB MiB (15). PYTHON is the one with torch (python3). With LEAN=1 what a run resumes from stays there: its
# best bundle, its curves and pictures come back alone, a tenth of it.
set -euo pipefail
cd "$(dirname "$0")/../.."
HOLD=$(realpath --canonicalize-missing "${HOLD:-out/hold}")
OUT=$(realpath --canonicalize-missing "${OUT:-$HOLD/out}")
PART_MIB=${PART_MIB:-15}
system_python=${PYTHON:-python3}
python=$HOLD/venv/bin/python
mkdir -p "$HOLD/parts" "$HOLD/files" "$HOLD/runs" "$OUT"
export HOLD OUT PART_MIB RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled MLFLOW_DISABLE_TELEMETRY=true
export MLFLOW_TRACKING_URI=sqlite:///$HOLD/mlflow.db

fail() {
  printf '%s\n' "error: $1" >&2
  exit 2
}

receive() {
  [ $# -gt 0 ] || fail "Name the folders of the loads."
  for load in "$@"; do
    [ -f "$load/load.json" ] || fail "$load is no load: it has no load.json. Make loads by infra/gpu/pack.py."
    # Parts of another packing would stand among these.
    cmp -s "$load/load.json" "$HOLD/parts/load.json" || rm -rf "$HOLD"/parts/* "$HOLD"/files/*
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
  rm -rf "$HOLD/site"
  unpacking=()
  for archive in "$HOLD"/files/*.tar.xz; do
    tar -C "$HOLD" -xf "$archive" &
    unpacking+=($!)
  done
  for each in "${unpacking[@]}"; do
    wait "$each" || fail "An archive could not be unpacked; is the disk full?"
  done
  "$system_python" -m venv --system-site-packages --without-pip "$HOLD/venv"
  # What was carried, this repository, and the system's Python, which may be an environment itself, whose packages
  # --system-site-packages doesn't show.
  {
    printf '%s\n' "$HOLD/site" "$PWD"
    "$system_python" -c 'import site; print("\n".join(site.getsitepackages()))'
  } >"$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/machine.pth"
  "$python" infra/gpu/check.py
}

train() {
  recipe=${1:?Name a recipe of jobs/train.py.}
  shift
  status=0
  "$python" jobs/train.py "$recipe" --output "$HOLD/runs" ${DEVICE---gpu} "$@" 2>&1 | tee "$HOLD/train.log" || status=$?
  keep
  return "$status"
}

running() { # whether a training goes on in the background
  [ -f "$HOLD/train.pid" ] && kill -0 "$(cat "$HOLD/train.pid")" 2>/dev/null
}

start() {
  : "${1:?Name a recipe of jobs/train.py.}"
  ! running || fail "A training goes on already; follow tells how."
  rm -f "$HOLD/train.status" "$HOLD/train.log"
  # A session of its own outlives this one.
  OUT=$HOLD/out setsid --fork bash -c \
    'echo $$ >"$HOLD/train.pid"; status=0; "$0" train "$@" || status=$?; echo "$status" >"$HOLD/train.status"' \
    "$PWD/infra/gpu/machine.sh" "$@" >/dev/null 2>&1 </dev/null
  until [ -f "$HOLD/train.pid" ]; do sleep 0.1; done
  echo "Training in the background; $HOLD/train.log tells how it goes."
}

follow() {
  timeout "${1:?Say for how many seconds.}" tail --lines=+1 --follow=name --retry --quiet "$HOLD/train.log" 2>/dev/null &
  shown=$!
  while kill -0 "$shown" 2>/dev/null && running && [ ! -f "$HOLD/train.status" ]; do sleep 1; done
  sleep 1
  kill "$shown" 2>/dev/null || true
  keep
  [ ! -f "$HOLD/train.status" ] || return "$(cat "$HOLD/train.status")"
  running || fail "No training goes on, and none has ended: it was never started, or killed."
  echo "It goes on."
}

keep() { # runs and their entries in MLflow, in pieces that may come back; what is just being written may be missing
  rm -f "$OUT"/run.tar.part-*
  [ ! -f "$HOLD/train.log" ] || cp "$HOLD/train.log" "$OUT"
  (
    shopt -s nullglob
    cd "$HOLD"
    left_out=$(mktemp)
    [ -z "${LEAN:-}" ] || heavy >"$left_out"
    tar --exclude-from="$left_out" --ignore-failed-read --warning=no-file-changed -cf - runs mlflow.db* || [ $? -eq 1 ]
    rm "$left_out"
  ) | split --bytes="${PART_MIB}M" --numeric-suffixes --suffix-length=3 - "$OUT/run.tar.part-" ||
    echo "warning: What came back of the run is not whole." >&2
}

heavy() { # what a run can do without elsewhere: what it resumes from, and bundles but the best, or the last so far
  "$system_python" - <<'PYTHON'
import json, pathlib

for run in pathlib.Path("runs").iterdir():
    kept = sorted(bundle.parent for bundle in run.glob("checkpoint_*/bundle"))[-1:]
    if (done := run / "finished.json").is_file():
        kept = [run / pathlib.PurePath(json.loads(done.read_text())["checkpoint_uri"]).name]
    for checkpoint in run.glob("checkpoint_*"):
        print(checkpoint / "state.pt")
        if checkpoint not in kept:
            print(checkpoint / "bundle")
PYTHON
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
  train | start | follow) "$@" ;;
  restore) cat "${2:?Name the folder with run.tar.part-*.}"/run.tar.part-* | tar -C "$HOLD" -xf - ;;
  *) sed -n '3,18s/^# \{0,1\}//p' "$0" && exit 2 ;;
esac
