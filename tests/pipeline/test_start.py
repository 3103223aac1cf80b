"""What a run is told of the recogniser that it begins with, and that it keeps to it."""

from dataclasses import replace
from pathlib import Path

import pytest

from crnn.checkpoint import Bundle
from crnn.preprocess import PreprocessConfig
from pipeline.errors import ConfigError
from pipeline.registry import register_bundle, set_alias
from pipeline.runs import claim
from pipeline.start import Start, find_start
from pipeline.train_config import TrainConfig


def tuned(start_from: str, folder: Path, preprocess: PreprocessConfig | None = None) -> TrainConfig:
    return TrainConfig(
        name="tuned",
        data=("train",),
        validation=("held_out=held-out",),
        output=str(folder / "runs"),
        network="small",
        charset="alnum36",
        start_from=start_from,
        preprocess=preprocess or PreprocessConfig(),
        tracking=f"sqlite:///{folder}/mlflow.db",
    )


def other(bundle: Path) -> Bundle:
    """Another recogniser of the same kind."""
    known = Bundle.load(bundle)
    return replace(known, weights={name: tensor + 1 for name, tensor in known.weights.items()})


def found(config: TrainConfig) -> Start:
    start = find_start(config)
    assert start is not None
    return start


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
    start = found(tuned(str(tmp_path / "other"), tmp_path, wanted))
    assert start.otherwise == told
    assert start.told.endswith(f"; it is used to images as by {told}" if told else "as they were")


def test_a_run_that_goes_on_keeps_the_version_that_an_alias_named_at_first(
    untrained_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    config = tuned("models:/crnn@champion", tmp_path)
    other(untrained_bundle).save(tmp_path / "later")
    for version, folder in (("1", untrained_bundle), ("2", tmp_path / "later")):
        assert register_bundle(folder, "crnn", tracking_uri=config.tracking) == version
    set_alias("crnn", "champion", "1", tracking_uri=config.tracking)
    first = found(config)
    claim(config.run_uri, {"start": first.identity})
    set_alias("crnn", "champion", "2", tracking_uri=config.tracking)
    again = found(config)
    assert (again.uri, again.digest) == (first.uri, first.digest)
    claim(config.run_uri, {"start": again.identity})
    assert found(replace(config, name="another")).uri == "models:/crnn/2"


def test_a_folder_whose_bundle_was_replaced_begins_another_run(
    untrained_bundle: Path, tmp_path: Path
) -> None:
    config = tuned(str(tmp_path / "bundle"), tmp_path)
    Bundle.load(untrained_bundle).save(tmp_path / "bundle")
    claim(config.run_uri, {"start": found(config).identity})
    claim(config.run_uri, {"start": found(config).identity})
    other(untrained_bundle).save(tmp_path / "bundle")
    with pytest.raises(ConfigError, match="another start"):
        claim(config.run_uri, {"start": found(config).identity})
