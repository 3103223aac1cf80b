"""A run in MLflow: on a real server and in SQLite, done twice it is as done once."""

import io
import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.mlflow_run import (
    DataInput,
    MlflowRun,
    RunDetails,
    flatten,
    mlflow_client,
    open_run,
    resolve_tracking_uri,
)

EXPERIMENTS = itertools.count()


@pytest.fixture
def experiment() -> str:
    """The name of an experiment that doesn't exist yet."""
    return f"runs {next(EXPERIMENTS)}"


def opened(uri: str, experiment: str, details: RunDetails | None = None) -> MlflowRun:
    return open_run(mlflow_client(uri), uri, experiment, "run-1", details or RunDetails())


def the_run(uri: str, experiment: str) -> Any:
    """The experiment's run, of which there must be one."""
    client = mlflow_client(uri)
    (run,) = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
    return run


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (64, 32), shade).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_ui_shows_an_experiment_as_one_of_training(mlflow_server: Any, experiment: str) -> None:
    opened(mlflow_server.uri, experiment)
    found = mlflow_client(mlflow_server.uri).get_experiment_by_name(experiment)
    assert found.tags["mlflow.experimentKind"] == "custom_model_development"


def test_taking_up_a_run_keeps_its_parameters_and_tags_what_changed(
    mlflow_server: Any, experiment: str
) -> None:
    params = {f"layer.{i}": str(i) for i in range(230)} | {"text": "x" * 10_000}
    first = opened(mlflow_server.uri, experiment, RunDetails(params=params, tags={"crnn.revision": "a"}))
    first.end("FAILED")
    changed = params | {"layer.3": "changed", "new": "1"}
    opened(mlflow_server.uri, experiment, RunDetails(params=changed, tags={"crnn.revision": "b"}))
    run = the_run(mlflow_server.uri, experiment)
    assert run.info.run_id == first.run_id
    assert run.info.status == "RUNNING"
    assert len(run.data.params) == 232
    assert (run.data.params["layer.3"], run.data.params["new"]) == ("3", "1")
    assert run.data.tags["changed.layer.3"] == "changed"
    assert run.data.tags["crnn.revision"] == "b"
    assert len(run.data.params["text"]) == 6000


def test_pictures_tables_and_texts_are_there_once_however_often_they_are_sent(
    mlflow_server: Any, experiment: str
) -> None:
    for step in (100, 200):
        sent = opened(mlflow_server.uri, experiment)
        for again in (100, step):
            sent.send_picture("held_out/words", again, png(again))
        sent.send_text("config.yaml", f"step: {step}\n")
        sent.send_table("hardest.json", {"text": ["a", "b"], "cer": [0.5, step / 1000]})
    client, run = mlflow_client(mlflow_server.uri), the_run(mlflow_server.uri, experiment)
    names = [Path(f.path).name for f in client.list_artifacts(run.info.run_id, "images")]
    sliders = Counter(tuple(name.split("+timestamp")[0].split("+step+")) for name in names)
    assert sliders == {("held_out~words", "100"): 2, ("held_out~words", "200"): 2}  # full size and thumbnail
    folder = Path(client.download_artifacts(run.info.run_id, ""))
    assert (folder / "config.yaml").read_text() == "step: 200\n"
    assert json.loads((folder / "hardest.json").read_text()) == {
        "columns": ["text", "cer"],
        "data": [["a", 0.5], ["b", 0.2]],
    }
    assert "mlflow.loggedImages" in run.data.tags
    assert "hardest.json" in run.data.tags["mlflow.loggedArtifacts"]


def test_the_data_sets_are_inputs_of_the_run_by_their_fingerprint(
    mlflow_server: Any, experiment: str
) -> None:
    details = RunDetails(
        inputs=[
            DataInput(name="words", uri="s3://b/train", fingerprint="f00d" * 4, context="training", rows=9),
            DataInput(name="words", uri="/d/val", fingerprint="beef" * 16, context="validation", rows=3),
        ]
    )
    for _ in range(2):
        opened(mlflow_server.uri, experiment, details)
    inputs = the_run(mlflow_server.uri, experiment).inputs.dataset_inputs
    assert {(i.dataset.name, i.dataset.digest, i.tags[0].value) for i in inputs} == {
        ("words", "f00d" * 4, "training"),
        ("words", "beef" * 9, "validation"),
    }
    assert len(inputs) == 2


def test_a_local_database_keeps_its_artifacts_beside_it(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path_factory.mktemp("sqlite") / "new"
    uri = resolve_tracking_uri("sqlite:///mlflow.db", folder)
    opened(uri, "my words").send_text("note.txt", "hello")
    (note,) = folder.rglob("note.txt")
    assert note.relative_to(folder).parts[:2] == ("mlartifacts", "my_words")
    assert not list(tmp_path.iterdir())


def test_a_tracking_uri_means_the_same_in_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_tracking_uri(None) == f"sqlite:///{tmp_path}/out/mlflow.db"
    assert resolve_tracking_uri("sqlite:///x.db", Path("/data")) == "sqlite:////data/x.db"
    assert resolve_tracking_uri("sqlite:////data/x.db") == "sqlite:////data/x.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow:5000")
    assert resolve_tracking_uri(None) == "http://mlflow:5000"


@pytest.mark.parametrize("uri", ["file:///mlruns", "mlruns", "ftp://x", "databricks"])
def test_places_where_mlflow_cannot_track_are_refused(uri: str) -> None:
    with pytest.raises(ConfigError, match="is no tracking URI"):
        resolve_tracking_uri(uri)


@pytest.mark.parametrize("uri", ["http://me:hunter2@mlflow:5000", "postgresql://me:hunter2@db/mlflow"])
def test_a_password_in_the_tracking_uri_is_refused_and_not_repeated(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)  # which is where it would come from
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_PASSWORD") as refused:
        resolve_tracking_uri(None)
    assert "hunter2" not in str(refused.value)


def test_nested_configs_become_dotted_parameters() -> None:
    assert flatten({"name": "x", "optimizer": {"kind": "adamw", "rate": 0.1}, "none": None}) == {
        "name": "x",
        "optimizer.kind": "adamw",
        "optimizer.rate": "0.1",
        "none": "None",
    }
