"""The way to a GPU machine without a network: what is carried there, in pieces, and put together again."""

import os
import runpy
import subprocess
import sys
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


PRESENT, LEFT_OUT = PACK.named(PACK.PRESENT), PACK.named(PACK.LEFT_OUT)


def site(folder: Path, size: int) -> Path:
    """An archive of installed packages: one with a module, and a file of so many random bytes."""
    module = folder / "installed/carried"
    module.mkdir(parents=True)
    (module / "__init__.py").write_text("VALUE = 42\n")
    (module / "noise").write_bytes(os.urandom(size))
    return PACK.pack(folder / "installed", PACK.SITE, folder)  # type: ignore[no-any-return]


def test_what_is_carried_is_pinned_and_leaves_out_torch_and_what_the_machine_has() -> None:
    names = PACK.needed([PACK.PROJECT, *PACK.TESTED], PRESENT | LEFT_OUT)
    assert {"ray", "mlflow", "tyro", PACK.PROJECT} <= names
    assert names - {PACK.PROJECT} <= PACK.versions().keys()
    assert "torch" in PRESENT
    assert not names & (PRESENT | LEFT_OUT)
    assert not any(name.startswith("nvidia") or name == "triton" for name in names)


def test_what_the_machine_has_or_goes_without_is_what_the_project_needs() -> None:
    everything = PACK.needed([PACK.PROJECT, *PACK.TESTED], {"torch"})
    assert (PRESENT | LEFT_OUT) - {"torch"} <= everything


def test_training_needs_nothing_that_is_left_out() -> None:
    """The modules of what is left out can't be imported, and the jobs of a GPU machine still can."""
    modules = [name.replace("-", "_") for name in LEFT_OUT]
    code = f"""
import sys
for name in {modules}:
    sys.modules[name] = None
import jobs.benchmark, jobs.train, jobs.synthesize, pipeline.worker, pipeline.tracking, mlflow
import pipeline.synthesis.generator
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_extras_and_markers_are_followed() -> None:
    names = PACK.needed(["ray[data]"], PRESENT)
    assert "ray" in names
    assert PACK.needed(["ray"], {"ray"}) == set()
    assert all(Requirement(name) for name in names)


def test_files_are_carried_in_loads_and_are_whole_again(tmp_path: Path) -> None:
    large = site(tmp_path / "files", 300_000)
    small = tmp_path / "files" / "small.txt"
    small.write_text("small")
    loads = PACK.write_loads([large, small], tmp_path / "loads", load=160_000, part=120_000)
    assert len(loads) == 3
    for load in loads:
        assert sum(file.stat().st_size for file in load.glob("*.part-*")) <= 160_000
        assert machine(tmp_path, "receive", str(load)).returncode == 0
    done = machine(tmp_path, "setup")
    # The package is in, offline; what this environment holds is seen beside it.
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


def test_loads_that_were_packed_anew_take_the_place_of_others(tmp_path: Path) -> None:
    for number, (length, part) in enumerate([(3_000, 700), (1_000, 2_000)]):
        file = site(tmp_path / f"files-{number}", length)
        for load in PACK.write_loads([file], tmp_path / f"loads-{number}", load=20_000, part=part):
            assert machine(tmp_path, "receive", str(load)).returncode == 0
    done = machine(tmp_path, "setup")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hold/files" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("harm", ["missing", "damaged", "none"])
def test_what_did_not_arrive_whole_is_named(tmp_path: Path, harm: str) -> None:
    file = site(tmp_path / "files", 1_000)
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


def test_of_a_run_the_best_bundle_and_what_tells_of_it_come_back_lean(tmp_path: Path) -> None:
    runs = tmp_path / "hold/runs"
    for run, number in (("whole", 1), ("whole", 2), ("cut", 1), ("cut", 2)):
        folder = runs / run / f"checkpoint_{number}"
        (folder / "bundle").mkdir(parents=True)
        for file in ("state.pt", "history.jsonl", "bundle/weights.safetensors"):
            (folder / file).write_bytes(b"x")
    (runs / "whole/finished.json").write_text('{"checkpoint_uri": "/there/whole/checkpoint_1"}')
    (tmp_path / "hold/mlflow.db").write_bytes(b"database")
    (tmp_path / "hold/train.log").write_text("images 1 / 2\n")
    going = subprocess.Popen(["sleep", "60"])
    (tmp_path / "hold/train.pid").write_text(str(going.pid))
    try:
        done = machine(tmp_path, "follow", "1", LEAN="1")
    finally:
        going.kill()
        going.wait()
    assert done.returncode == 0, done.stderr
    assert "images 1 / 2" in done.stdout
    assert "It goes on" in done.stdout
    elsewhere = tmp_path / "elsewhere"
    assert machine(elsewhere, "restore", str(tmp_path / "out")).returncode == 0
    back = elsewhere / "hold/runs"
    assert sorted(str(f.parent.parent.relative_to(back)) for f in back.rglob("weights.safetensors")) == [
        "cut/checkpoint_2",
        "whole/checkpoint_1",
    ]
    assert len(list(back.rglob("history.jsonl"))) == 4
    assert not list(back.rglob("state.pt"))


def test_a_run_in_the_background_outlives_its_start_and_is_followed_to_its_end(tmp_path: Path) -> None:
    python = tmp_path / "hold/venv/bin/python"
    python.parent.mkdir(parents=True)
    (tmp_path / "hold/runs").mkdir()
    (tmp_path / "hold/mlflow.db").write_bytes(b"database")
    python.write_text("#!/bin/sh\nsleep 2\nprintf 'trained %s\\n' \"$*\"\nexit 3\n")  # stands in for the job
    python.chmod(0o755)
    assert machine(tmp_path, "start").returncode != 0
    assert machine(tmp_path, "start", "default", "--minutes", "8").returncode == 0
    second = machine(tmp_path, "start", "default")
    assert second.returncode == 2
    assert "goes on already" in second.stderr
    done = machine(tmp_path, "follow", "60")
    assert done.returncode == 3  # the job's own
    assert "trained jobs/train.py default" in done.stdout
    assert "--gpu --minutes 8" in done.stdout
    assert (tmp_path / "out/train.log").is_file()
    assert (tmp_path / "out/run.tar.part-000").is_file()


def test_following_nothing_says_so(tmp_path: Path) -> None:
    done = machine(tmp_path, "follow", "1")
    assert done.returncode == 2
    assert "never started, or killed" in done.stderr


def test_an_archive_that_can_not_be_unpacked_ends_the_setup(tmp_path: Path) -> None:
    file = tmp_path / "site.tar.xz"
    file.write_bytes(b"whole, and yet no archive")
    for load in PACK.write_loads([file], tmp_path / "loads", load=700, part=700):
        assert machine(tmp_path, "receive", str(load)).returncode == 0
    done = machine(tmp_path, "setup")
    assert done.returncode == 2
    assert "could not be unpacked" in done.stderr


def test_a_wrong_word_shows_what_there_is(tmp_path: Path) -> None:
    done = machine(tmp_path, "trian")
    assert done.returncode == 2
    assert "machine.sh train RECIPE" in done.stdout
    assert machine(tmp_path, "receive", str(tmp_path)).returncode == 2


def test_the_script_is_sound_shell() -> None:
    subprocess.run(["bash", "-n", str(MACHINE)], check=True)
