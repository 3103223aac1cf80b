"""A stored checkpoint's points and pictures reach MLflow once, and trouble with MLflow reaches nobody."""

import asyncio
import io
import json
import pickle
from pathlib import Path

import pytest
import ray.train
from PIL import Image

from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.model import seeded
from crnn.networks import SMALL
from crnn.preprocess import PreprocessConfig
from pipeline import resume
from pipeline.hardest import HardestWords
from pipeline.mlflow_run import find_run, mlflow_client
from pipeline.tracking import MetricPoint, Tracker, TrackerConfig
from pipeline.tracking_callback import LastWords, TrackingCallback


def checkpoint(folder: Path, points: list[MetricPoint]) -> ray.train.Checkpoint:
    folder.mkdir()
    weights = seeded(SMALL, ALNUM36.num_classes, 0).state_dict()
    bundle = Bundle(network=SMALL, charset=ALNUM36, preprocess=PreprocessConfig(), weights=weights)
    png = io.BytesIO()
    Image.new("L", (8, 8)).save(png, "PNG")
    progress = resume.Progress(history=points)
    step = points[-1].step
    pictures = {f"words/{step:09d}.png": png.getvalue()}
    hardest = HardestWords(step=step, columns={"id": [f"at {step}"], "loss": ["inf"]}, sheet=png.getvalue())
    resume.write_shared(folder, {}, progress, bundle, pictures, ranks=1, hardest=hardest)
    return ray.train.Checkpoint.from_directory(folder)


def test_new_points_and_pictures_are_sent_and_old_ones_are_not_sent_again(tmp_path: Path) -> None:
    config = TrackerConfig(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="crnn", run_name="run")
    opened = Tracker(config)
    opened.open_run()
    assert opened.run_id(deadline_s=60)
    callback = TrackingCallback(config)
    points = [MetricPoint("train/loss", 1.0 / step, step, 1_000 + step) for step in range(1, 5)]
    callback.after_report(None, [], checkpoint(tmp_path / "one", points[:2]))
    callback.after_report(None, [], checkpoint(tmp_path / "two", points))
    # A start that lost the last checkpoint goes on from the first one, and has another future.
    other = [*points[:2], MetricPoint("train/loss", 9.0, 3, 2_000)]
    callback.after_report(None, [], checkpoint(tmp_path / "three", other))
    callback.after_report(None, [], None)
    assert callback._tracker is not None
    assert callback._tracker.flush(60) == 0
    opened.finish("FINISHED")
    client = mlflow_client(config.tracking_uri)
    run = find_run(client, "crnn", "run")
    assert run is not None
    found = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted((m.step, m.value) for m in found) == [(1, 1.0), (2, 0.5), (3, 1 / 3), (3, 9.0), (4, 0.25)]
    images = [f.path for f in client.list_artifacts(run.info.run_id, "images") if f.path.endswith(".png")]
    for key in ("validation~words", "train~hardest"):
        shown = sorted(path.partition("+")[2].split("+")[1] for path in images if f"/{key}+" in path)
        assert shown == ["2", "3", "4"]
    # The table is that of the checkpoint that was sent last.
    table = client.download_artifacts(run.info.run_id, "hardest.json", str(tmp_path))
    assert json.loads(Path(table).read_text()) == {"columns": ["id", "loss"], "data": [["at 3", "inf"]]}


def test_the_controller_ends_when_mlflow_has_what_was_reported(tmp_path: Path) -> None:
    config = TrackerConfig(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="crnn", run_name="run")
    opened = Tracker(config)
    opened.open_run()
    run_id = opened.run_id(deadline_s=60)
    assert run_id
    here = TrackingCallback(config)
    callback, last_words = pickle.loads(pickle.dumps([here, LastWords(here)]))  # as they travel
    asyncio.run(last_words.before_controller_shutdown())  # of a run that reported nothing
    points = [MetricPoint("train/loss", 1.0, 1, 1_001)]
    callback.after_report(None, [], checkpoint(tmp_path / "one", points))
    asyncio.run(last_words.before_controller_shutdown())
    images = [f.path for f in mlflow_client(config.tracking_uri).list_artifacts(run_id, "images")]
    assert any("/validation~words+" in path for path in images)
    opened.finish("FINISHED")


def test_a_checkpoint_that_can_not_be_read_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = TrackerConfig(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="crnn", run_name="run")
    (tmp_path / "empty").mkdir()
    TrackingCallback(config).after_report(None, [], ray.train.Checkpoint.from_directory(tmp_path / "empty"))
    assert "were not sent to MLflow" in caplog.text
