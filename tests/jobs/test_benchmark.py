"""One command: a table or JSON, a file, a run in MLflow, and an honest exit code."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs.benchmark import STAGES, main
from pipeline.benchmark.measure import Row, Setting
from pipeline.mlflow_run import mlflow_client


def quick(setting: Setting) -> Iterator[Row]:
    yield Row(stage="quick", name="x", value=7.0, low=6.0, high=8.0, unit="y/s", ceiling=14.0, bound="z")


def broken(setting: Setting) -> Iterator[Row]:
    yield from quick(setting)
    raise MemoryError("no room")


@pytest.fixture
def tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("jobs.benchmark.STAGES", {**STAGES, "quick": quick, "broken": broken})
    return f"sqlite:///{tmp_path}/mlflow.db"


def test_figures_are_printed_kept_and_logged(
    tracking: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "figures.json"
    assert main(["--stages", "quick", "--tracking", tracking, "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "y/s" in printed
    assert "50" in printed.splitlines()[-1]
    assert json.loads(output.read_text())["rows"][0]["ratio"] == 0.5
    client = mlflow_client(tracking)
    (experiment,) = [e for e in client.search_experiments() if e.name == "crnn-benchmark"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics == {"benchmark/quick/x": 7.0}
    assert run.info.status == "FINISHED"


def test_json_alone_goes_to_stdout(tracking: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stages", "quick", "--tracking", tracking, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["stage"] == "quick"


def test_a_stage_that_fails_costs_neither_the_others_nor_an_honest_exit_code(
    tracking: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--stages", "broken", "quick", "--tracking", tracking, "--json"]) == 3
    record = json.loads(capsys.readouterr().out)
    assert [row["stage"] for row in record["rows"]] == ["quick", "quick"]
    assert record["failures"] == {"broken": "MemoryError: no room"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--stages", "dekode"], "decode"),
        (["--networks", "large"], "small"),
        (["--device", "tpu"], "cpu or cuda"),
        (["--rounds", "0"], "positive"),
    ],
)
def test_what_can_not_be_measured_is_said(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert told in capsys.readouterr().err
