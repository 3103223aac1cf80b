"""The job as a person and a scheduler meet it: exit codes, sheets, the table, a kill on the way."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image

from jobs.runtime import ExitCode
from jobs.synthesize import main
from pipeline.manifest import Manifest
from pipeline.mlflow_run import mlflow_client
from pipeline.synthesis.data_set import DataSetPlan, make_shard
from pipeline.synthesis.presets import PRESETS

ROOT = Path(__file__).resolve().parents[2]


def test_a_killed_job_started_again_makes_only_what_is_missing(tiny_assets: str, tmp_path: Path) -> None:
    output, done, tracking = tmp_path / "out", tmp_path / "out/done", f"sqlite:///{tmp_path}/mlflow.db"
    command = [
        sys.executable,
        "jobs/synthesize.py",
        "scene",
        "--output",
        str(output),
        "--assets",
        tiny_assets,
    ]
    command += ["--rows", "500", "--shard-rows", "10", "--tracking", tracking]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL, start_new_session=True) as killed:
        while not (done.is_dir() and len(list(done.glob("*.json"))) > 20):
            assert killed.poll() is None, "the job ended before it was killed"
            time.sleep(0.02)
        os.killpg(killed.pid, signal.SIGKILL)
    early = {path: path.stat().st_mtime_ns for path in done.glob("*.json")}
    assert len(early) < 50
    assert not (output / "manifest.json").exists()

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == ExitCode.OK, again.stderr
    assert all(path.stat().st_mtime_ns == written for path, written in early.items())
    before = re.search(r"made before +(\d+)", again.stdout)
    assert before is not None
    assert int(before[1]) >= 200
    for told in (r"images +500 in 50 shards", r"4-6 +\d", r"blur +\d", r"redrawn +\d", r"\d an image"):
        assert re.search(told, again.stdout), told
    with Image.open(output / "sheet.png") as sheet:
        assert sheet.width > 1_000

    found = Manifest.read(str(output))
    plan = DataSetPlan(
        output=str(tmp_path / "undisturbed"),
        rows=500,
        shard_rows=10,
        split="train",
        seed=7,
        assets=tiny_assets,
        config=PRESETS["scene"](),
    )
    shards = tuple(make_shard(shard, plan).info for shard in range(plan.shards))
    assert found.shards == shards
    assert found.fingerprint in again.stdout

    client = mlflow_client(tracking)
    (run,) = client.search_runs([client.get_experiment_by_name("crnn").experiment_id])
    assert run.data.metrics["rows"] == 500
    assert 0 < run.data.metrics["share/blur"] < 1
    logged = Path(client.download_artifacts(run.info.run_id, "", str(tmp_path)))
    assert (output / "sheet.png").read_bytes() in [png.read_bytes() for png in logged.rglob("*.png")]
    assert json.loads((logged / "tally.json").read_text())["rows"] == 500


@pytest.fixture
def usual(tiny_assets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags that would work, from a working folder of their own."""
    monkeypatch.chdir(tmp_path)
    return ["--assets", tiny_assets, "--output", "out"]


@pytest.mark.parametrize("extra", [[], ["--only", "curve,perspective"], ["--pictures.colour", "rgb"]])
def test_a_preview_is_one_sheet_and_nothing_else(
    usual: list[str], no_ray: None, capsys: pytest.CaptureFixture[str], extra: list[str]
) -> None:
    assert main(["scene", *usual, "--preview", "12", *extra]) == ExitCode.OK
    assert "12 pictures: out/sheet.png" in capsys.readouterr().out
    assert sorted(map(str, Path().rglob("*"))) == ["out", "out/sheet.png"]
    assert not ray.is_initialized()
    with Image.open("out/sheet.png") as sheet:
        saturation = np.asarray(sheet.convert("HSV"))[..., 1]
    assert (len(np.unique(saturation)) > 5) == ("rgb" in extra)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["scnee"], "Did you mean scene"),
        (["scene", "--row", "5"], "--row"),
        (["scene", "--rows", "0"], "--rows"),
        (["scene", "--preview", "0"], "--preview"),
        (["scene", "--only", "curvy"], "No effects: curvy"),
        (["scene", "--pictures.chances.blur", "2"], "blur"),
        (["scene", "--pictures.words.characters", "aé"], "é"),
        (["scene", "--seed", "-1"], "seed"),
    ],
)
def test_what_can_not_work_ends_with_2_before_ray_starts(
    usual: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main([*arguments[:1], *usual, *arguments[1:]]) == ExitCode.BAD_CONFIG
    assert told in capsys.readouterr().err
    assert not Path("out").exists()


def test_another_data_set_in_the_folder_ends_with_2(
    usual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("out").mkdir()
    Path("out/synthesis.json").write_text('{"seed": 3}')
    assert main(["scene", *usual]) == ExitCode.BAD_CONFIG
    assert "holds a data set made with another" in capsys.readouterr().err


def test_missing_assets_are_named_with_what_to_do(
    usual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scene", *usual, "--assets", "nowhere"]) not in (ExitCode.OK, ExitCode.BAD_CONFIG)
    assert "python jobs/assets.py --output nowhere" in capsys.readouterr().err


def test_an_output_that_can_not_be_written_is_an_honest_failure(
    usual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").write_text("no folder")
    assert main(["scene", *usual, "--output", "file/out"]) not in (ExitCode.OK, ExitCode.BAD_CONFIG)
    assert "file/out" in capsys.readouterr().err
