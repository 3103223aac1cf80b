"""Training on real Ray: deaths and resizes lose no image, repeat none, and leave one curve in MLflow."""

import random
import signal
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from crnn.checkpoint import Bundle
from crnn.ctc import log_prob
from crnn.optimizer import OptimizerConfig
from crnn.preprocess import decode_image, line_image
from crnn.recognizer import Recognizer
from pipeline import board, resume
from pipeline.board import Facts
from pipeline.errors import ConfigError, DataError, DivergedError
from pipeline.fit import FitResult
from pipeline.mlflow_run import mlflow_client
from pipeline.order import Position
from pipeline.runs import FINISHED, finished, latest_position
from pipeline.train_config import TrainConfig
from pipeline.train_plan import plan_run
from tests.datasets import word_rows, write_data_set
from tests.processes import kill_when
from tests.training_runs import WORDS, WORKER, checkpoints, curve, history, tiny_run, train, write_words

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
    pytest.mark.timeout(900),  # several whole runs in a test, each starting a dozen processes
]


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_words(tmp_path_factory.mktemp("data"))


@pytest.fixture
def config(data: Path, tmp_path: Path) -> TrainConfig:
    return tiny_run(data, tmp_path)


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainConfig, FitResult]:
    """A run that nothing happened to."""
    config = tiny_run(data, tmp_path_factory.mktemp("undisturbed"))
    return config, train(config)


def losses(config: TrainConfig) -> dict[int, float]:
    return {p.step: p.value for p in history(config) if p.key == "train/loss"}


def test_workers_killed_at_three_random_steps_change_nothing_but_the_time(
    config: TrainConfig, undisturbed: tuple[TrainConfig, FitResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board, "POLL_S", 0.05)
    seed = random.randrange(2**32)
    last = max(losses(undisturbed[0]))
    steps = sorted(random.Random(seed).sample(range(1, last // 2), 3))
    print(f"seed {seed}: kills after steps {steps} of {last}")  # noqa: T201  # pytest shows it where this fails
    killed: list[int] = []

    def kill(facts: Facts) -> None:
        if steps and facts["step"] >= steps[0]:
            del steps[0]
            kill_when(lambda: True, WORKER, killed=killed)

    done = train(config, kill)
    assert len(killed) == 3
    assert done.images_seen == undisturbed[1].images_seen == 472
    assert latest_position(config.run_uri) == Position(through=6)
    wanted, found = losses(undisturbed[0]), losses(config)
    assert found.keys() == wanted.keys()
    assert all(abs(found[step] - wanted[step]) < 1e-3 * wanted[step] for step in wanted)
    points = curve(config, "train/loss")
    assert points == [(step, pytest.approx(value)) for step, value in sorted(found.items())]
    assert len(mlflow_client(str(config.tracking)).search_runs(["1"])) == 1


def test_a_run_that_is_asked_to_end_saves_and_goes_on_with_fewer_workers_by_the_same_steps(
    config: TrainConfig,
) -> None:
    config = replace(config, images=4_740, save_every=100_000)
    handler = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    try:
        with pytest.raises(SystemExit, match="143"):
            train(replace(config, workers=2), lambda facts: signal.raise_signal(signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, handler)
    (kept,) = checkpoints(config)
    seen = [p.value for p in resume.read_history(kept) if p.key == "train/images_seen"]
    assert 0 < max(seen) < 4_720
    assert [value for _, value in curve(config, "train/images_seen")] == seen
    # Consuming a pack twice is an error in the worker, so that the end says: each exactly once.
    assert train(config).images_seen == 4_720
    assert latest_position(config.run_uri) == Position(through=60)
    steps = [step for step, _ in curve(config, "train/images_seen")]
    assert steps == list(range(1, len(steps) + 1))
    images = [0.0, *(value for _, value in curve(config, "train/images_seen"))]
    each = [after - before for before, after in pairwise(images)]
    assert median(each[: len(seen)]) == pytest.approx(median(each[len(seen) : -1]), rel=0.2)


def test_what_was_not_learnt_is_counted_and_no_point_is_there_twice(
    undisturbed: tuple[TrainConfig, FitResult],
) -> None:
    config, done = undisturbed
    assert not done.resumed
    assert done.ended == "images"
    audit = done.audits["train"]
    assert (audit.read, audit.kept, done.left_out) == (240, 237, {"train": {"truncated": 1}})
    assert audit.rejected == {"empty_label": 1, "label_too_long": 1, "outside_charset": 1}
    odd = pq.read_table(f"{config.run_uri}/audit/left-out.parquet").to_pylist()
    assert [(row["id"], row["reason"]) for row in odd] == [("word-00040", "truncated")]
    assert (done.metrics["validation/held_out/words"], done.metrics["validation/held_out/rejected"]) == (
        24,
        1,
    )
    points = Counter((p.key, p.step) for p in history(config))
    assert set(points.values()) == {1}
    assert sum(key == "validation/held_out/cer" for key, _ in points) == 4


def test_a_bundle_reads_files_as_training_read_held_out_words(
    undisturbed: tuple[TrainConfig, FitResult],
) -> None:
    done = undisturbed[1]
    bundle = Bundle.load(f"{done.checkpoint_uri}/bundle")
    assert bundle.provenance["recipe"] == "test"
    recognizer, loss = Recognizer(bundle), 0.0
    for row in word_rows(WORDS[::10], "held"):
        line = line_image(decode_image(row["image"]), bundle.preprocess)  # type: ignore[arg-type]
        target = torch.tensor(bundle.charset.encode(str(row["text"])))
        log_probs_NTV = recognizer.log_probs(line[None, None])
        loss -= float(log_prob(log_probs_NTV, target, torch.tensor([len(target)]))) / 24
    assert loss == pytest.approx(done.metrics["validation/held_out/loss"], rel=1e-3)


def test_a_finished_run_is_found_and_goes_on_when_it_is_given_more(
    undisturbed: tuple[TrainConfig, FitResult],
) -> None:
    config, done = undisturbed
    again = train(config)
    assert again.resumed
    assert again.checkpoint_uri == done.checkpoint_uri
    further = train(replace(config, images=475))
    assert not further.resumed
    assert further.images_seen > 472
    assert latest_position(config.run_uri) == Position(through=7)
    steps = [step for step, _ in curve(config, "train/loss")]
    assert steps == list(range(1, len(steps) + 1))
    assert curve(config, "train/learning_rate")[-1][1] < 0.02 * config.optimizer.learning_rate


def test_a_run_that_lives_in_a_bucket_ends_at_its_time(config: TrainConfig, s3_bucket: str) -> None:
    write_data_set(f"{s3_bucket}/train", word_rows(WORDS), shard_rows=40)
    bucket = {"data": (f"{s3_bucket}/train",), "output": f"{s3_bucket}/runs"}
    slow = replace(config.optimizer, warmup=0.5)
    config = replace(config, **bucket, images=200_000, save_every=200_000, minutes=0.1, optimizer=slow)  # type: ignore[arg-type]
    done = train(config)
    assert 0 < done.images_seen < config.images
    assert done.ended == "minutes"
    # Whether the machine takes two steps in that time or a thousand: fitted to the images, the rate would
    # hardly have begun to rise.
    rates = [rate for _, rate in curve(config, "train/learning_rate")]
    assert max(rates) > 3 * slow.rate(done.images_seen / config.images)
    assert finished(config.run_uri) is not None
    assert train(config).resumed


def test_a_run_ends_when_its_patience_does_and_goes_on_with_more(config: TrainConfig) -> None:
    still = OptimizerConfig(learning_rate=1e-9)  # its first look is its best
    config = replace(config, optimizer=still, save_every=59, patience=2)

    def looks() -> list[int]:
        return [step for step, _ in curve(config, config.score)]

    done = train(config)
    assert (done.ended, len(looks())) == ("patience", 3)
    assert done.images_seen < 300
    assert train(config).resumed
    # As if the machine had died between the last checkpoint and the note that the run is over.
    (Path(config.run_uri) / FINISHED).unlink()
    again = train(config)
    assert not again.resumed
    assert (again.ended, again.images_seen, len(looks())) == ("patience", done.images_seen, 3)
    more = train(replace(config, patience=3))
    assert (more.ended, len(looks())) == ("patience", 4)
    further = train(replace(config, patience=3, images=950))
    assert (further.ended, len(looks())) == ("patience", 7)
    steps = [step for step, _ in curve(config, "train/loss")]
    assert steps == list(range(1, len(steps) + 1))


def test_a_run_whose_gradients_are_not_finite_gives_up_and_names_images(config: TrainConfig) -> None:
    wild = OptimizerConfig(learning_rate=1e30, warmup=0.0)
    with pytest.raises(DivergedError, match=r"After step \d+ the gradient of 3 steps.*word-\d+, "):
        train(replace(config, optimizer=wild, max_refused=3, workers=2))


def test_the_name_of_a_run_on_other_data_is_refused(config: TrainConfig, data: Path) -> None:
    plan_run(config)
    with pytest.raises(ConfigError, match="another data "):
        plan_run(replace(config, data=(str(data / "held_out"),)))
    with pytest.raises(ConfigError, match="another data "):
        plan_run(replace(config, data=(f"a:1={data / 'train'}", f"b:1={data / 'few'}")))
    with pytest.raises(ConfigError, match="a and b are the same data"):
        plan_run(replace(config, data=(f"a:1={data / 'train'}", f"b:1={data / 'train'}")))
    with pytest.raises(ConfigError, match="another charset"):
        plan_run(replace(config, charset="latin94"))
    with pytest.raises(ConfigError, match="another order"):
        plan_run(replace(config, seed=8))


def test_a_data_set_with_nothing_to_learn_from_ends_before_training(
    config: TrainConfig, tmp_path: Path
) -> None:
    rows: list[dict[str, Any]] = word_rows(["a", "b"])
    for row in rows:
        row["text"] = "ü"
    write_data_set(str(tmp_path / "bad"), rows, shard_rows=2)
    with pytest.raises(DataError, match=r"none of 2 rows.*outside_charset"):
        train(replace(config, data=(str(tmp_path / "bad"),)))
