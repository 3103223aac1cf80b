"""The house: imports go one way, and importing a module does nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("crnn", "pipeline", "jobs")


def lint(root: Path) -> "subprocess.CompletedProcess[str]":
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command; lint_imports_command()",
    ]
    return subprocess.run(
        [*command, "--no-cache", "--no-logo"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_go_from_jobs_to_pipeline_to_crnn_and_never_back() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("crnn/charset.py", "import pipeline.errors"),
        ("crnn/charset.py", "import ray"),
        ("crnn/charset.py", "def later():\n    from mlflow import MlflowClient"),
        ("pipeline/errors.py", "from jobs import cli"),
        ("pipeline/errors.py", "import tyro"),
    ],
)
def test_an_import_against_the_grain_is_caught(module: str, line: str, tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / module).open("a") as file:
        file.write(f"\n{line}\n")
    done = lint(tmp_path)
    assert done.returncode == 1
    assert "BROKEN" in done.stdout  # rather than misconfigured


IMPORTER = """
import importlib, json, logging, multiprocessing, os, signal, sys, threading, warnings
# What others do when they are imported is not ours to judge; and it takes long, so do it once.
import cv2, mlflow, numpy, PIL.Image, pyarrow.parquet, ray, ray.data, ray.train.torch, s3fs, torch, tyro

def state():
    return {
        "threads": sorted(thread.name for thread in threading.enumerate()),
        "environment": dict(os.environ),
        "handlers": {s.name: str(signal.getsignal(s)) for s in (signal.SIGTERM, signal.SIGINT)},
        "logging": [str(handler) for handler in logging.getLogger().handlers],
        "path": list(sys.path),
        "folder": os.getcwd(),
        "files": sorted(os.listdir()) + sorted(os.listdir(os.environ["HOME"])),
        "grad": torch.is_grad_enabled(),
        "threads of torch": torch.get_num_threads(),
        "seed": torch.initial_seed(),
    }

def import_alone(name, told):
    warnings.simplefilter("error")
    before = state()
    try:
        importlib.import_module(name)
    except BaseException as error:
        told.send(f"{type(error).__name__}: {error}")
        return
    after = state()
    told.send(", ".join(key for key in before if before[key] != after[key]))

# A fork for each module: for our packages as fresh as an interpreter of its own, in a tenth of the time.
context = multiprocessing.get_context("fork")
found = {}
for name in sys.argv[1:]:
    here, there = context.Pipe(duplex=False)
    child = context.Process(target=import_alone, args=(name, there))
    child.start()
    there.close()
    try:
        found[name] = here.recv() if here.poll(60) else "took longer than a minute"
    except EOFError:
        found[name] = "died"
    child.kill()
    child.join()
print(json.dumps(found))
"""


def test_every_module_is_importable_alone_and_does_nothing_else(tmp_path: Path) -> None:
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    ]
    assert len(modules) > 20
    (tmp_path / "home").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", IMPORTER, *modules],
        cwd=tmp_path,
        env=os.environ | {"HOME": str(tmp_path / "home"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert {name: what for name, what in told.items() if what} == {}
