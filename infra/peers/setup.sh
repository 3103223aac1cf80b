#!/usr/bin/env bash
# Environments of their own for other people's generators, which need older libraries than ours.
# jobs/benchmark.py --stages peers measures what is there.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ -x out/peers/trdg/bin/python ] || ${PYTHON:-python3} -m venv out/peers/trdg
out/peers/trdg/bin/pip install -qq --disable-pip-version-check 'trdg==1.8.0' 'pillow<10' 'numpy<2' 'opencv-python-headless<4.12'
