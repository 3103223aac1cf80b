import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from crnn.checkpoint import Bundle
from crnn.fusion import Fusion
from crnn.language_model import CharacterModel
from pipeline.errors import ConfigError, ModelNotFoundError
from pipeline.histograms import count_readings
from pipeline.lease import acquire
from pipeline.transcribe_config import TranscribeConfig
from pipeline.transcription_run import Transcription, begin, run_name


@pytest.fixture
def config(tmp_path: Path, untrained_bundle: Path) -> TranscribeConfig:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a")
    return TranscribeConfig(
        input=str(tmp_path / "in"), output=str(tmp_path / "out"), model=str(untrained_bundle), run="r"
    )


def started(config: TranscribeConfig) -> Transcription:
    run = run_name(config)
    with acquire(config.output, run) as lease:
        return begin(config, run, lease)


def change(config: TranscribeConfig, **fields: object) -> TranscribeConfig:
    values = {name: getattr(config, name) for name in TranscribeConfig.__dataclass_fields__}
    return TranscribeConfig(**values | fields)


def test_a_run_is_pinned_with_all_that_its_result_depends_on(
    config: TranscribeConfig, tmp_path: Path
) -> None:
    job = started(config)
    spec = json.loads((tmp_path / "out/runs/r/spec.json").read_text())
    assert spec["model"]["digest"] == job.model.digest
    assert spec["input"] == str(tmp_path / "in")
    assert spec["provenance"]["code"]
    assert job.listing.rows == 1
    assert started(config).listing == job.listing


def test_a_run_of_the_same_name_must_be_the_same(config: TranscribeConfig, tmp_path: Path) -> None:
    started(config)
    bundle = Bundle.load(config.model)
    weights = {name: 2 * tensor for name, tensor in bundle.weights.items()}
    replace(bundle, weights=weights).save(tmp_path / "other")
    Image.new("L", (40, 20), 99).save(tmp_path / "0.png")
    (tmp_path / "labels.tsv").write_text("path\ttext\n0.png\tword\n")
    for changed in (
        {"model": str(tmp_path / "other")},
        {"limit": 5},
        {"include": ("*.png",)},
        {"precision": "bf16"},
        {"policy": "backfill"},
        {"least_confidence": 0.25},
        {"n_best": 3},
        {"shadow": str(tmp_path / "other")},
        {"canaries": str(tmp_path / "labels.tsv")},
    ):
        with pytest.raises(ConfigError, match=rf"another run \({next(iter(changed))} was"):
            started(change(config, **changed))


def test_a_run_without_the_language_model_is_not_the_one_with_it(
    config: TranscribeConfig, tmp_path: Path
) -> None:
    bundle = Bundle.load(config.model)
    language = Fusion(model=CharacterModel(["word"], bundle.charset))
    replace(bundle, language=language).save(tmp_path / "worded")
    worded = change(config, model=str(tmp_path / "worded"))
    job = started(worded)
    assert job.reader.source.fetch() == tmp_path / "worded"
    with pytest.raises(ConfigError, match=r"another run \(model was"):
        started(change(worded, language=False))
    bare = started(change(worded, language=False, run="bare"))
    assert bare.model.digest == bundle.fingerprint
    assert str(bare.model.digest) in bare.reader.title
    assert "without its language model" in bare.reader.title
    assert bare.reader.pinned()["bundle"] == job.model.digest
    assert bare.reader.source.fetch() == tmp_path / "worded"
    # Where those of the network alone are calibrated, these are what it reads by.
    flat = {"bias": 0.0, "likelihood": -1.0, "curvature": 0.0, "length": 0.0}
    counted = {"readings": count_readings([("word", 0.5)])}
    sure = replace(
        Bundle.load(tmp_path / "worded"), calibration_alone=flat, provenance={"calibration_alone": counted}
    )
    sure.save(tmp_path / "sure")
    both = [started(change(config, model=f"{tmp_path}/sure", run=n, language=n == "w")) for n in ("w", "n")]
    assert [job.held_out for job in both] == [None, counted["readings"]]
    assert [job.preprocess for job in both] == [sure.reading, sure.alone().reading]
    assert both[0].preprocess != both[1].preprocess
    assert [job.model.digest for job in both] == [sure.fingerprint, sure.alone().fingerprint]
    # Without one a model reads the same either way.
    assert started(change(config, run="a")).reader == started(change(config, run="b", language=False)).reader


def test_runs_without_a_name_are_named_by_the_time(config: TranscribeConfig) -> None:
    assert run_name(change(config, run=None))[:2] == "20"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"limit": 0}, "--limit"),
        ({"shard_rows": 0}, "--shard-rows"),
        ({"images_per_second": 0.0}, "--images-per-second"),
        ({"max_quarantined": 5}, "--max-quarantined"),
        ({"n_best": 0}, "--n-best"),
        ({"shadow_share": 0.0}, "--shadow-share"),
        ({"max_canary_cer": -1.0}, "--max-canary-cer"),
        ({"min_canary_confidence": 2.0}, "--min-canary-confidence"),
        ({"export": "out.xlsx"}, "--export"),
        ({"export": "gs://b/out.csv"}, "gs://"),
        ({"lease_s": 0}, "--lease-s"),
        ({"run": "../elsewhere"}, "--run"),
        ({"run": ""}, "--run"),
        ({"output": "in/out", "input": "in"}, "lies in the input"),
        ({"export": "in/texts.csv", "input": "in"}, "export in/texts.csv lies in the input"),
        ({"review": -3}, "--review"),
        ({"experiment": "photo's"}, "without '"),
        ({"output": "s3://b/in", "input": "s3://b/in/"}, "lies in the input"),
        ({"output": "s3://b/x", "input": "s3://b"}, "lies in the input"),
        ({"input": "gs://b/x"}, "gs://"),
    ],
)
def test_what_can_not_work_is_refused_before_anything_is_done(
    config: TranscribeConfig, fields: dict[str, object], told: str
) -> None:
    with pytest.raises(ConfigError, match=told):
        change(config, **fields)


@pytest.mark.parametrize("change_of", [{"max_width": 1024}, {"contrast": 0.0}, {"contrast": 30.0}])
def test_a_shadow_whose_images_cant_be_made_of_the_models_is_refused(
    config: TranscribeConfig, tmp_path: Path, change_of: dict[str, Any]
) -> None:
    bundle = Bundle.load(config.model)
    geometry = replace(bundle.preprocess, **change_of)
    replace(bundle, preprocess=geometry).save(tmp_path / "other")
    with pytest.raises(ConfigError, match="prepared otherwise"):
        started(change(config, shadow=str(tmp_path / "other")))


def test_an_output_beside_the_input_is_fine(config: TranscribeConfig) -> None:
    change(config, input="s3://b/in", output="s3://b/in-transcripts")


def test_missing_models_and_folders_are_named(config: TranscribeConfig, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFoundError, match="no-model"):
        started(change(config, model=str(tmp_path / "no-model")))
    with pytest.raises(ConfigError, match="no-folder"):
        started(change(config, input=str(tmp_path / "no-folder")))
