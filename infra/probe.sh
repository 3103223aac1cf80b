#!/usr/bin/env bash
# The yardstick of synthesis, start to end: assets, the photographs beside the repository, jobs/probe.py.
# Usage: infra/probe.sh NAME [CHANGE …], a change being flags of jobs/synthesize.py scene; those of jobs/train.py
# as TRAIN="--optimizer.ema-decay 0", fewer images as IMAGES=150000, another seed as SEED=8.
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:?Give the probe a name, such as baseline or no-curve.}
shift
shared=../shared
[ -d "$shared/data" ] || {
  echo "error: The probe reads the photographs in $shared/data, which isn't here." >&2
  exit 2
}
python=.venv/bin/python
[ -f out/assets-all/assets.json ] || $python jobs/assets.py --output out/assets-all --packages all
ingest() { $python jobs/ingest.py "$@" >/dev/null; }
ingest svt --input $shared/formats/svt_train.xml --images $shared/data/svt_train/images \
  --crops '{:04d}.png' --source svt --output out/data/svt
ingest iiit5k --input $shared/formats/trainCharBound.mat --images $shared/data/iiit5k_train/images \
  --flatten --source iiit5k --output out/data/iiit5k
ingest icdar --input $shared/formats/ic15_train_gt.txt --images $shared/data/ic15_train/images \
  --suffix .jpg --source ic15 --output out/data/ic15
exec $python jobs/probe.py --name "$name" --assets out/assets-all "--train=${TRAIN:-}" \
  --images "${IMAGES:-300000}" --seed "${SEED:-7}" \
  --data iiit5k=out/data/iiit5k svt=out/data/svt ic15=out/data/ic15 -- "$@"
