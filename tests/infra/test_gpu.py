"""The way to a GPU machine without a network: what is carried there, in pieces, and put together again."""

import os
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
MACHINE = ROOT / "infra/gpu/machine.sh"
PACK = SimpleNamespace(**runpy.run_path(str(ROOT / "infra/gpu/pack.py")))


def machine(home: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    variables: Mapping[str, str] = {
        "HOLD": str(home / "hold"),
        "OUT": str(home / "out"),
        "PYTHON": sys.executable,
        **environment,
    }
    return subprocess.run(
        [str(MACHINE), *arguments],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def wheel(folder: Path, size: int) -> Path:
    """A wheel with one module, and a file of so many random bytes."""
    folder.mkdir(parents=True)
    path, info = folder / "carried-1.0-py3-none-any.whl", "carried-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("carried/__init__.py", "VALUE = 42\n")
        archive.writestr("carried/noise", os.urandom(size))
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: carried\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def test_what_is_carried_is_pinned_and_leaves_out_torch_and_what_the_machine_has() -> None:
    there, pinned = PACK.present(), PACK.versions()
    names = PACK.needed([PACK.PROJECT, *PACK.TESTED], there)
    assert {"ray", "mlflow", "tyro", "wordfreq", PACK.PROJECT} <= names
    assert names - {PACK.PROJECT} <= pinned.keys()
    assert "torch" in there
    assert not names & there
    assert not any(name.startswith("nvidia") or name == "triton" for name in names)


def test_what_the_machine_has_is_what_the_project_needs() -> None:
    everything = PACK.needed([PACK.PROJECT, *PACK.TESTED], {"torch"})
    assert PACK.present() - {"torch"} <= everything


def test_extras_and_markers_are_followed() -> None:
    names = PACK.needed(["ray[data]"], PACK.present())
    assert "ray" in names
    assert PACK.needed(["ray"], {"ray"}) == set()
    assert all(Requirement(name) for name in names)


def test_files_are_carried_in_loads_and_are_whole_again(tmp_path: Path) -> None:
    large = wheel(tmp_path / "files", 300_000)
    small = tmp_path / "files" / "small.txt"
    small.write_text("small")
    loads = PACK.write_loads([large, small], tmp_path / "loads", load=160_000, part=120_000)
    assert len(loads) == 3
    for load in loads:
        assert sum(file.stat().st_size for file in load.glob("*.part-*")) <= 160_000
        assert machine(tmp_path, "receive", str(load)).returncode == 0
    done = machine(tmp_path, "setup")
    # The wheel is in, offline; what the project needs is said to lack, for nothing of it was carried.
    assert (tmp_path / "hold/files" / large.name).read_bytes() == large.read_bytes()
    python = tmp_path / "hold/venv/bin/python"
    told = subprocess.run(
        [python, "-c", "import carried, torch; print(carried.VALUE)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout == "42\n"
    assert done.returncode == 0, done.stderr
    assert "torch" in done.stdout


@pytest.mark.parametrize("harm", ["missing", "damaged", "none"])
def test_what_did_not_arrive_whole_is_named(tmp_path: Path, harm: str) -> None:
    file = wheel(tmp_path / "files", 1_000)
    loads = PACK.write_loads([file], tmp_path / "loads", load=700, part=700)
    for load in loads[: 0 if harm == "none" else 1 if harm == "missing" else None]:
        if harm == "damaged":
            (part,) = load.glob("*.part-*")
            part.write_bytes(part.read_bytes()[:-1] + b"?")
        assert machine(tmp_path, "receive", str(load)).returncode == 0
    done = machine(tmp_path, "setup")
    assert done.returncode != 0
    assert ("No load has been received" if harm == "none" else file.name) in done.stderr


def test_a_run_comes_back_in_pieces_and_goes_on_elsewhere(tmp_path: Path) -> None:
    run = tmp_path / "hold/runs/latin94/checkpoint_1"
    run.mkdir(parents=True)
    state = os.urandom(2_500_000)
    (run / "state.pt").write_bytes(state)
    (tmp_path / "hold/mlflow.db").write_bytes(b"database")
    python = tmp_path / "hold/venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text("#!/bin/sh\nprintf 'trained %s\\n' \"$*\"\nexit 3\n")  # stands in for the job
    python.chmod(0o755)
    done = machine(tmp_path, "train", "default", "--minutes", "8", PART_MIB="1")
    assert done.returncode == 3  # the job's own
    assert "jobs/train.py default" in (tmp_path / "out/train.log").read_text()
    assert len(list((tmp_path / "out").glob("run.tar.part-*"))) == 3
    elsewhere = tmp_path / "elsewhere"
    assert machine(elsewhere, "restore", str(tmp_path / "out")).returncode == 0
    assert (elsewhere / "hold/runs/latin94/checkpoint_1/state.pt").read_bytes() == state


def test_a_wrong_word_shows_what_there_is(tmp_path: Path) -> None:
    done = machine(tmp_path, "trian")
    assert done.returncode == 2
    assert "machine.sh train RECIPE" in done.stdout
    assert machine(tmp_path, "receive", str(tmp_path)).returncode == 2


def test_the_script_is_sound_shell() -> None:
    subprocess.run(["bash", "-n", str(MACHINE)], check=True)
