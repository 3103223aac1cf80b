"""A training run that can't work is refused before anything starts."""

from typing import Any

import pytest

from crnn.preprocess import PreprocessConfig
from pipeline.errors import ConfigError
from pipeline.train_config import TrainConfig

GOOD: dict[str, Any] = {"name": "run", "data": ("train",), "validation": ("a=x", "b=y")}


def test_the_first_validation_set_decides_the_score() -> None:
    config = TrainConfig(**GOOD)
    assert config.held_out == {"a": "x", "b": "y"}
    assert config.score == "validation/a/word_accuracy"
    assert config.run_uri == "out/runs/run"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"workers": 0, "keep": 0}, "workers, keep must be at least 1"),
        ({"patience": 0}, "patience must be at least 1"),
        ({"name": ""}, "can't be one"),
        ({"name": "a/b"}, "can't be one"),
        ({"validation": ()}, "at least one --validation"),
        ({"validation": ("x",)}, "name=URI"),
        ({"validation": ("a=x", "a=y")}, "twice"),
        ({"data": ("a:1=x", "b=y")}, "name:weight=URI"),
        ({"data": ("a:1=x", "b:9999=y"), "window_rows": 1_000}, "weight of a is too small"),
        ({"preprocess": PreprocessConfig(height=48)}, "reads height 32"),
    ],
)
def test_what_can_not_work_is_refused_with_what_to_do(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        TrainConfig(**GOOD | change)
