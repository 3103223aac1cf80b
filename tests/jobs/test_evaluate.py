import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from crnn.calibration import Calibration
from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.fusion import Fusion
from crnn.language_model import CharacterModel
from crnn.model import CRNN
from crnn.networks import NETWORKS
from crnn.preprocess import PreprocessConfig
from crnn.recognizer import Recognizer
from jobs.evaluate import EvaluateConfig, main
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.mlflow_run import mlflow_client
from pipeline.registry import register_bundle, resolve_model
from pipeline.schema import SAMPLE_SCHEMA
from pipeline.shards import write_shard
from pipeline.storage import local_copy, write_atomic

# Ray Data warns of its own defaults.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two versions of a model: 1 writes "a" whatever it sees, 2 writes "b"."""
    tracking = f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", tracking)
        for letter in "ab":
            directory = tmp_path_factory.mktemp("bundle")
            constant(letter).save(directory)
            register_bundle(directory, "crnn")
        yield tracking


def constant(letter: str) -> Bundle:
    """A recogniser that writes one letter, whatever it sees."""
    network = NETWORKS["small"]
    weights = {k: torch.zeros_like(v) for k, v in CRNN(network, ALNUM36.num_classes).state_dict().items()}
    bias = next(name for name in reversed(weights) if name.endswith("bias"))
    weights[bias][ALNUM36.encode(letter)[0]] = 9.0
    geometry = PreprocessConfig(height=network.height)
    return Bundle(network=network, charset=ALNUM36, preprocess=geometry, weights=weights)


def data_set(directory: Path, texts: str) -> str:
    buffer = io.BytesIO()
    Image.new("L", (60, 32), 90).save(buffer, "PNG")
    row = {"image": buffer.getvalue(), "width": 60, "height": 32, "source": "drawn"}
    rows = [row | {"id": str(i), "text": text} for i, text in enumerate(texts)]
    table = pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)
    Manifest(shards=(write_shard(str(directory), 0, table),)).write(str(directory))
    return str(directory)


def runs_named(tracking: str, name: str) -> list[Any]:
    """Runs of the experiment by how their name begins."""
    client = mlflow_client(tracking)
    experiment = client.get_experiment_by_name("crnn")
    return [
        run for run in client.search_runs([experiment.experiment_id]) if run.info.run_name.startswith(name)
    ]


def test_a_table_is_printed_and_logged_with_the_data_sets_fingerprint(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = data_set(tmp_path / "data", "aaab!")
    command = ["--model", "models:/crnn/1", "--data", f"svt={uri}", "--tracking", registry]
    assert main(command) == 0
    printed = capsys.readouterr().out
    (row,) = [line.split() for line in printed.splitlines() if line.startswith("svt ")][:1]
    assert row[:4] == ["svt", "none", "4", "75"]
    assert "1 empty_truth" in printed
    assert "CRNN (TPAMI 2017)" in printed
    assert "82.7" in printed
    (run,) = runs_named(registry, "evaluate crnn 1 on svt (alnum36, all)")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["evaluation/svt/word_accuracy"] == 0.75
    (logged,) = run.inputs.dataset_inputs
    assert logged.dataset.digest == Manifest.read(uri).fingerprint
    client = mlflow_client(registry)
    assert {f.path for f in client.list_artifacts(run.info.run_id)} >= {"evaluation", "evaluation.txt"}


def test_two_models_are_compared_image_by_image_and_all_of_it_is_kept(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = data_set(tmp_path / "data", "a" * 120 + "b" * 100)
    (tmp_path / "words.txt").write_text("b\nB\n\nz\n")
    command = ["--model", "models:/crnn/1", "--compare", "models:/crnn/2", "--data", f"x={uri}", "--details"]
    command += ["--lexicon", f"few={tmp_path / 'words.txt'}", "--output", str(tmp_path / "out")]
    command += ["--calibrate", str(tmp_path / "calibrated"), "--register-as", "sure", "--tracking", registry]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "against crnn version 2" in printed
    assert "x by length" in printed
    assert "Calibrated what is read on 220 words, right where they are the truth" in printed
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["tables"]["differences"]["rows"] == [["x", 220, 120, 100, 9.09]]
    assert report["metrics"]["evaluation/x/lexicon_few"] == pytest.approx(100 / 220)
    assert report["data"]["x"]["fingerprint"] == Manifest.read(uri).fingerprint
    readings = pq.read_table(tmp_path / "out/x/readings.parquet")
    assert readings["prediction"].to_pylist() == ["a"] * 220
    for picture in ("errors", "reliability", "differences"):
        with Image.open(tmp_path / f"out/x/{picture}.png") as image:
            assert image.width > 300
    calibrated = Bundle.load(tmp_path / "calibrated")
    assert calibrated.calibration
    assert resolve_model("models:/sure/1", registry).digest == calibrated.fingerprint


def test_what_is_evaluated_otherwise_is_another_run_and_the_same_again_is_the_same(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uris = [data_set(tmp_path / name, text) for name, text in (("one", "ab"), ("two", "abc"))]
    for uri, more in ((uris[0], []), (uris[0], []), (uris[1], []), (uris[1], ["--no-language"])):
        command = ["--model", "models:/crnn/1", "--data", f"otherwise={uri}", *more, "--tracking", registry]
        assert main(command) == 0
    assert "crnn version 1, without a language model" in capsys.readouterr().out
    runs = runs_named(registry, "evaluate crnn 1 on otherwise (alnum36, all")
    assert len({run.info.run_name for run in runs}) == len(runs) == 3
    assert sum("no language model" in run.info.run_name for run in runs) == 1


def test_what_is_read_without_the_language_model_has_confidences_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sure = {"bias": 9.0, "likelihood": -1.0, "curvature": 0.0, "length": 0.0}
    fluent = replace(constant("a"), calibration=sure, language=Fusion(model=CharacterModel(["b"], ALNUM36)))
    fluent.save(tmp_path / "bundle")
    command = ["--model", str(tmp_path / "bundle"), "--data", f"x={data_set(tmp_path / 'data', 'ab' * 110)}"]
    command += ["--no-language", "--tracking", f"sqlite:///{tmp_path}/m.db"]
    assert main([*command, "--calibrate", str(tmp_path / "calibrated")]) == 0
    assert "what is read without the language model on 220" in (told := capsys.readouterr().out)
    assert "what is read with the language model stay as they were" in told
    calibrated = Bundle.load(tmp_path / "calibrated")
    assert calibrated.calibration == sure
    assert calibrated.provenance["calibration_alone"]["words"] == 220
    image = np.full((32, 60), 90, np.uint8)
    (read,) = Recognizer(calibrated, language=False)([image])
    fitted = Calibration.from_dict(calibrated.calibration_alone)
    assert fitted
    assert (read.text, read.confidence) == ("a", fitted.confidence(read.log_prob, 1))
    assert read.confidence < 0.7  # half of them were right; `sure` would say 1


def test_the_alias_moves_only_to_a_model_that_is_not_worse_and_the_verdict_is_kept_whatever_fails(
    registry: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri, out = data_set(tmp_path, "a" * 30 + "b" * 10), tmp_path / "out"

    def promote(version: int, *more: str) -> tuple[int, str]:
        command = ["--model", f"models:/crnn/{version}", "--data", f"x={uri}", "--tracking", registry]
        code = main([*command, "--promote", *more])
        return code, resolve_model("models:/crnn@champion", registry).version

    # There was none. Calibrating fails, after everything was kept.
    assert promote(2, "--calibrate", str(tmp_path / "c"), "--output", str(out)) == (1, "2")
    assert "too few to calibrate" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()
    assert "champion: version 2 takes over; there was no champion." in (out / "report.txt").read_text()
    report = json.loads((out / "report.json").read_text())
    assert report["gate"] == {"promote": True, "reason": "there was no champion", "sets": {}}
    (run,) = runs_named(registry, "evaluate crnn 2 on x (alnum36, all)")
    assert run.info.status == "FINISHED"
    assert run.data.tags["crnn.gate"] == "True: there was no champion"
    assert promote(1) == (0, "1")  # better
    capsys.readouterr()
    assert promote(2) == (3, "1")  # worse: kept out
    assert "version 2 is kept out; worse than the champion" in capsys.readouterr().out


def test_only_registered_models_can_be_promoted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    constant("a").save(tmp_path / "bundle")
    uri = data_set(tmp_path / "data", "ab")
    arguments = ["--model", str(tmp_path / "bundle"), "--data", f"x={uri}", "--promote"]
    assert main([*arguments, "--tracking", f"sqlite:///{tmp_path}/m.db"]) == 2
    assert "Register it first" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        (["--data", "svt"], 2, "name=URI"),
        (["--data", "a=nowhere"], 1, "manifest.json"),
        (["--data", "a=nowhere", "--protocl", "alnum36"], 2, "--protocol"),
        (["--data", "a=nowhere", "--margin", "2"], 2, "margin"),
        (["--data", "a=nowhere", "--promote", "--compare", "x"], 2, "leave --compare away"),
        (["--data", "a=nowhere", "--no-language", "--promote"], 2, "as it reads"),
        (["--data", "a=nowhere", "--register-as", "x"], 2, "--calibrate"),
    ],
)
def test_what_can_not_be_done_is_said_and_how_to_do_it(
    arguments: list[str], exit_code: int, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    constant("a").save(tmp_path / "bundle")
    tracking = f"sqlite:///{tmp_path}/m.db"
    code = main(["--model", str(tmp_path / "bundle"), "--tracking", tracking, *arguments])
    assert code == exit_code
    assert told in capsys.readouterr().err


def test_a_calibrated_bundle_goes_to_buckets_and_over_another(tmp_path: Path, s3_bucket: str) -> None:
    plain = constant("a")
    plain.save(tmp_path / "bundle")
    target = f"{s3_bucket}/calibrated"
    write_atomic(f"{target}/language.safetensors", b"of another bundle")
    command = ["--model", str(tmp_path / "bundle"), "--data", f"x={data_set(tmp_path / 'data', 'ab' * 110)}"]
    assert main([*command, "--calibrate", target, "--tracking", f"sqlite:///{tmp_path}/m.db"]) == 0
    with local_copy(f"{target}/") as folder:
        assert Bundle.load(folder).calibration
        assert sorted(path.name for path in folder.iterdir()) == ["bundle.json", "weights.safetensors"]


@pytest.mark.parametrize("target", ["models:/crnn", "gs://bucket/folder"])
def test_a_place_that_no_bundle_can_be_written_to_is_refused_at_once(target: str) -> None:
    with pytest.raises(ConfigError):
        EvaluateConfig(data=("x=y",), calibrate=target)
