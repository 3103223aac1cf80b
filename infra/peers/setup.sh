#!/usr/bin/env bash
# Environments of their own for other people's generators and readers, which need other libraries than ours.
# jobs/benchmark.py --stages peers, jobs/evaluate.py --peers and infra/peers/measure_runtimes.py measure what is
# there. Without root; from Debian or Ubuntu comes Tesseract's English model alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
environment() {
  [ -x "out/peers/$1/bin/python" ] || ${PYTHON:-python3} -m venv "out/peers/$1"
  "out/peers/$1/bin/pip" install -qq --disable-pip-version-check "${@:2}"
}
environment trdg 'trdg==1.8.0' 'pillow<10' 'numpy<2' 'opencv-python-headless<4.12'
environment readers 'tesserocr==2.13.0' 'rapidocr-onnxruntime==1.4.4' 'rapidocr==3.10.0' 'onnxruntime<2'
# Runtimes that compute our networks beside our torch: not an environment, but packages behind its own.
[ -d out/peers/runtimes/openvino ] || ${PYTHON:-python3} -m pip install -qq --disable-pip-version-check \
  --target out/peers/runtimes 'onnx==1.23.2' 'onnxscript==0.7.2' 'onnxruntime==1.32.0' 'openvino==2026.4.1'
if [ ! -f out/peers/tessdata/eng.traineddata ]; then
  mkdir -p out/peers/tessdata out/peers/debian
  (cd out/peers/debian && apt-get -qq download tesseract-ocr-eng && dpkg -x tesseract-ocr-eng_*.deb .)
  find out/peers/debian -name eng.traineddata -exec cp {} out/peers/tessdata/ \;
fi
