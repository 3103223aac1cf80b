# The project's few commands. Everything is installed into .venv; nothing else on the machine is changed.
# Variables: PYTHON=python3.12 (3.11 or newer), TORCH_INDEX=URL (of `make setup`), PORT=5000 (of `make ui`), NAME, CHANGE,
# TRAIN, IMAGES, SEED (of `make probe`).

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PORT ?= 5000
CONSTRAINTS := infra/constraints-cpu.txt
BIN := .venv/bin
# The environment is good for these files, this Python and this folder (the project is installed in place).
KEY := $(shell (cat pyproject.toml $(CONSTRAINTS); echo "$(PYTHON) $(CURDIR)") | cksum | tr ' ' -)
STAMP := .venv/ready-$(KEY)

.DEFAULT_GOAL := help
.PHONY: help setup test faults cluster-test browser-test lint demo probe peers ui
.SILENT:

help:
	echo "make demo   synthesize, train, evaluate, register and transcribe, start to end"
	echo "make ui     the runs, curves and models of this machine, on http://127.0.0.1:$(PORT)"
	echo "make test   everything that must hold: style, types, layers, tests"
	echo "make faults kills, stops and starves transcriptions and trainings in every way we know; 25 minutes"
	echo "make cluster-test  hosts that die or are cut off, who may come in, the runbook; as root, 14 minutes"
	echo "make browser-test  MLflow's pages after a small run, in headless Chromium; two minutes"
	echo "make lint   style, types and layers only"
	echo "make probe NAME=baseline  what pictures and training are worth: a small network, then real photographs"
	echo "make peers  other people's generators and readers in environments of their own, to measure beside ours"
	echo "make setup  the environment in .venv that the others need, and make on their own"

setup: $(STAMP)

$(STAMP): infra/setup.sh
	infra/setup.sh "$(PYTHON)" "$(CONSTRAINTS)"
	rm -f .venv/ready-*
	touch $@

lint: $(STAMP)
	$(BIN)/ruff check --quiet .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/mypy --no-error-summary
	$(BIN)/lint-imports --no-logo --no-cache > .venv/lint-imports.txt || { cat .venv/lint-imports.txt; exit 1; }

# Of a process of tests that dies no second one is started: pytest-xdist then waits for ever for its last tests.
test: lint
	env -u RAY_ADDRESS -u MLFLOW_TRACKING_URI $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder \
		--max-worker-restart 0

faults: $(STAMP)
	env -u RAY_ADDRESS -u MLFLOW_TRACKING_URI $(BIN)/python -m pytest -m "faults or not faults" \
		tests/pipeline/nightly/test_faults.py tests/pipeline/nightly/test_faults_of_boxes.py \
		tests/pipeline/nightly/test_plan_memory.py tests/jobs/test_train_nodes.py

cluster-test: $(STAMP)
	env -u RAY_ADDRESS -u MLFLOW_TRACKING_URI $(BIN)/python -m pytest -m cluster tests/cluster

browser-test: $(STAMP)
	env -u RAY_ADDRESS -u MLFLOW_TRACKING_URI $(BIN)/python -m pytest -m "browser or not browser" tests/browser

SVT := ../shared/formats/svt_train.xml
PHOTOGRAPHS := $(if $(wildcard $(SVT)),out/demo/data/photographs)

demo: $(STAMP)
	test -z "$(PHOTOGRAPHS)" || $(BIN)/python jobs/ingest.py svt --input $(SVT) --images ../shared/data/svt_train/images \
		--crops '{:04d}.png' --source svt --output $(PHOTOGRAPHS) > /dev/null
	$(BIN)/python jobs/demo.py $(addprefix --photographs ,$(PHOTOGRAPHS))

probe: $(STAMP)
	TRAIN="$(TRAIN)" IMAGES=$(IMAGES) SEED=$(SEED) infra/probe.sh $(NAME) $(CHANGE)

peers:
	PYTHON="$(PYTHON)" infra/peers/setup.sh

ui: $(STAMP)
	test -f out/mlflow.db || { echo "There are no runs yet: make demo makes the first."; exit 1; }
	echo "http://127.0.0.1:$(PORT): choose Model training at the top left, once (Ctrl-C ends it)"
	MLFLOW_DISABLE_TELEMETRY=true MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server --backend-store-uri sqlite:///out/mlflow.db \
		--default-artifact-root out/mlartifacts --host 127.0.0.1 --port $(PORT) --workers 1
