"""One batch is learnt by heart before a run is paid for, and a few steps are timed."""

from pathlib import Path
from typing import Any

import pytest

from crnn.charset import ALNUM36
from crnn.networks import TINY
from crnn.optimizer import OptimizerConfig
from crnn.preprocess import PreprocessConfig
from pipeline.errors import BatchCheckError
from pipeline.labels import LabelRules
from pipeline.order import Window
from pipeline.packing import Packer, Source
from pipeline.trial import CHECK_LOSS, CHECK_STEPS, Trial, learn_by_heart, measure
from tests.datasets import word_rows, write_data_set

RULES = LabelRules(charset=ALNUM36, preprocess=PreprocessConfig(), network=TINY)
WORDS = ["ab", "cd", "e1", "2f", "gh", "i3"]


def trial_on(folder: Path, rows: list[dict[str, Any]]) -> Trial:
    manifest = write_data_set(str(folder), rows, shard_rows=40)
    source = Source(uri=str(folder), content=manifest)
    return Trial(
        packer=Packer(sources=(source,), rules=RULES, pack_columns=256, seed=1),
        window=Window.whole(index=0, epoch=0, shards=[0]),
        optimizer=OptimizerConfig(learning_rate=3e-3),
        precision="fp32",
        start=None,
        gpu=False,
        neighbours=64,
    )


def test_words_that_can_be_read_are_learnt_by_heart(tmp_path: Path) -> None:
    found = learn_by_heart(trial_on(tmp_path, word_rows(WORDS)))
    assert found.learnt
    assert found.after < CHECK_LOSS
    assert found.before > 5
    assert found.steps < CHECK_STEPS
    assert 2 <= found.images <= 6
    found.require()


def test_one_picture_with_two_texts_is_not_and_the_worst_are_named(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = word_rows(["ab", "ab"])
    rows[1] |= {"image": rows[0]["image"], "text": "cd"}
    found = learn_by_heart(trial_on(tmp_path, rows))
    assert (found.steps, found.images) == (CHECK_STEPS, 2)
    with pytest.raises(
        BatchCheckError, match=r"batch of 2 images.*below 0.1.*word-0000\d '(ab|cd)' \(.*rate"
    ):
        found.require()


def test_a_loss_that_is_not_finite_ends_the_check_at_once(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = word_rows(["ab"])
    trial = trial_on(tmp_path, rows)
    wild = OptimizerConfig(learning_rate=1e30, warmup=0.0)
    found = learn_by_heart(
        Trial(**{name: getattr(trial, name) for name in Trial.__dataclass_fields__} | {"optimizer": wild})
    )
    assert not found.learnt
    assert found.steps < CHECK_STEPS


def test_steps_reading_and_packing_are_timed_on_packs_of_the_window(tmp_path: Path) -> None:
    trial = trial_on(tmp_path, word_rows([f"{'word' * (i % 3)}{i}" for i in range(40)]))
    pace = measure(trial)
    assert pace.packs == sum(1 for _ in trial.packer.packs(trial.window))
    assert 1 <= pace.timed <= pace.packs - 1
    assert min(pace.trained_per_s, pace.read_per_s, pace.packed_per_s) > 0
    assert pace.device == "1 CPUs"
