"""What a run is told of the recogniser that it begins with."""

from dataclasses import replace
from pathlib import Path

import pytest

from crnn.checkpoint import Bundle
from crnn.preprocess import PreprocessConfig
from pipeline.start import find_start
from pipeline.train_config import TrainConfig


@pytest.mark.parametrize(
    ("used_to", "wanted", "told"),
    [
        (PreprocessConfig(), PreprocessConfig(), ""),
        (PreprocessConfig(contrast=0.0), PreprocessConfig(contrast=0.0), ""),
        (PreprocessConfig(contrast=0.0), PreprocessConfig(), "--preprocess.contrast 0.0"),
        (
            PreprocessConfig(contrast=30.0, widening=0),
            PreprocessConfig(),
            "--preprocess.widening 0 --preprocess.contrast 30.0",
        ),
    ],
)
def test_images_prepared_otherwise_than_it_is_used_to_are_told_with_the_flags_for_its_own(
    untrained_bundle: Path, tmp_path: Path, used_to: PreprocessConfig, wanted: PreprocessConfig, told: str
) -> None:
    replace(Bundle.load(untrained_bundle), preprocess=used_to).save(tmp_path / "other")
    config = TrainConfig(
        name="tuned",
        data=("train",),
        validation=("held_out=held-out",),
        network="small",
        charset="alnum36",
        start_from=str(tmp_path / "other"),
        preprocess=wanted,
    )
    start = find_start(config)
    assert start is not None
    assert start.otherwise == told
    assert start.told.endswith(f"; it is used to images as by {told}" if told else "as they were")
