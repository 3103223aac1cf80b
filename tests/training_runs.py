"""Small training runs on real Ray, and what is left of them to look at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from crnn.optimizer import OptimizerConfig
from pipeline.board import Facts
from pipeline.fit import FitResult, fit
from pipeline.mlflow_run import find_run, mlflow_client
from pipeline.runs import CheckpointFiles, latest_position
from pipeline.tracking import MetricPoint, Tracker, TrackerConfig
from pipeline.train_config import TrainConfig
from pipeline.train_plan import plan_run
from tests.datasets import word_rows, write_data_set

WORDS = [f"{'abc'[: i % 4]}{i}" for i in range(240)]
WORKER = "RayTrainWorker"
"""In the name of the processes that train."""


def write_words(folder: Path) -> Path:
    """Data sets below a folder: 240 words to learn from, 3 of them not usable and one not to be decoded, and
    25 held out; a few more words with ids that are there already. Tells the folder."""
    rows: list[dict[str, Any]] = word_rows(WORDS)
    for i, text in ((10, ""), (20, "naïve"), (30, "x" * 60)):
        rows[i]["text"] = text
    cut(rows[40])
    write_data_set(str(folder / "train"), rows, shard_rows=40)
    held_out = word_rows([*WORDS[::10], "naïve"], "held")
    write_data_set(str(folder / "held_out"), held_out, shard_rows=40)
    few: list[dict[str, Any]] = word_rows(WORDS[:31])
    few[3]["text"] = "é"
    cut(few[4])
    write_data_set(str(folder / "few"), few, shard_rows=10)
    return folder


def cut(row: dict[str, Any]) -> None:
    """Makes a row's image undecodable."""
    row["image"] = row["image"][:-40]


def tiny_run(data: Path, folder: Path) -> TrainConfig:
    """Two epochs in 472 images, with a checkpoint at the very end."""
    return TrainConfig(
        name="run",
        data=(str(data / "train"),),
        validation=(f"held_out={data / 'held_out'}",),
        output=str(folder / "runs"),
        network="tiny",
        charset="alnum36",
        optimizer=OptimizerConfig(ema_decay=0.5),
        images=474,
        pack_columns=1_024,
        window_rows=80,
        log_every=1,
        save_every=118,
        keep=1,
        tracking=f"sqlite:///{folder}/mlflow.db",
    )


def train(config: TrainConfig, show: Callable[[Facts], None] = lambda facts: None) -> FitResult:
    assert config.tracking is not None
    tracker = Tracker(TrackerConfig(tracking_uri=config.tracking, experiment="crnn", run_name=config.name))
    tracker.open_run()
    try:
        return fit(plan_run(config), tracker, {"recipe": "test"}, show)
    finally:
        tracker.finish("FINISHED")


def checkpoints(config: TrainConfig) -> list[Path]:
    return sorted(p.parent for p in Path(config.run_uri).glob("checkpoint_*/state.pt"))


def saved(config: TrainConfig) -> bool:
    """Whether a checkpoint is there and noted: what a start would go on from."""
    return latest_position(config.run_uri) is not None


def curve(config: TrainConfig, key: str) -> list[tuple[int, float]]:
    """A curve as MLflow has it."""
    client = mlflow_client(str(config.tracking))
    run = find_run(client, "crnn", config.name)
    assert run is not None
    return [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]


def history(config: TrainConfig) -> list[MetricPoint]:
    return CheckpointFiles.at(str(checkpoints(config)[-1])).history()
