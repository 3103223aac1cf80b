"""A finished run becomes a model of the package: half the bytes, calibrated, with a card without secrets."""

import json
import re
import shlex
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crnn.charset import LATIN94
from crnn.checkpoint import Bundle
from crnn.networks import NETWORKS
from crnn.preprocess import PreprocessConfig
from crnn.recognizer import Recognizer
from jobs.cli import parse_recipe
from jobs.recipes import RECIPES
from jobs.ship import ShipConfig, _command, main
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.synthesis.assets import Assets
from pipeline.train_config import TrainConfig
from pipeline.train_plan import Plan
from tests.datasets import printed, word_rows, write_data_set

WORDS = ["ab", "cd", "e1", "2", "word", "sixteen letters!", "x" * 18]


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, tiny_assets: str) -> str:
    folder = str(tmp_path_factory.mktemp("data"))
    write_data_set(folder, word_rows(WORDS * 30), shard_rows=80, assets=Assets.open(tiny_assets).fingerprint)
    return folder


@pytest.fixture
def run(untrained_bundle: Path, data: str, tmp_path: Path) -> Path:
    """The folder of a finished run, as far as shipping reads it."""
    folder, bundle = tmp_path / "first", Bundle.load(untrained_bundle)
    told = {"revision": "abc", "images_seen": 7200, "host": socket.gethostname(), "command": "/home/me/train"}
    told["started_from"] = {"uri": "/home/me/runs/zero", "fingerprint": "0abc", "images_seen": 500}
    Bundle(
        network=bundle.network,
        charset=bundle.charset,
        preprocess=bundle.preprocess,
        weights=bundle.weights,
        provenance=told,
    ).save(folder / "best" / "bundle")
    optimizer = RECIPES["latin94-small"]().optimizer.to_dict() | {"learning_rate": 0.5}
    identity: dict[str, Any] = {"data": Manifest.read(data).fingerprint, "order": [7, 1, 1]}
    identity |= {"optimizer": optimizer, "preprocess": PreprocessConfig(contrast=30.0).to_dict()}
    identity |= {"network": json.dumps(NETWORKS["small"].to_dict()), "charset": LATIN94.fingerprint}
    (folder / "run.json").write_text(json.dumps(identity))
    finished = {"checkpoint_uri": str(folder / "best"), "last_uri": str(folder / "best"), "metrics": {}}
    finished |= {"images_seen": 7300, "images_per_s": 2.0, "images": 7000, "minutes": None}
    (folder / "finished.json").write_text(json.dumps(finished))
    return folder


def flags(run: Path, data: str, assets: str, output: Path) -> list[str]:
    told = ["--run", str(run), "--train-data", data, "--assets", assets, "--data", f"words={data}"]
    return [*told, "--strings", "2000", "--output", str(output)]


def test_a_finished_run_is_shipped_with_its_card(
    run: Path, data: str, tiny_assets: str, tmp_path: Path, untrained_bundle: Path
) -> None:
    output = tmp_path / "models"
    named = ["--name", "latin94-small", "--hardware", "two cores"]
    assert main([*flags(run, data, tiny_assets, output), *named]) == 0
    shipped, source = output / "latin94-small", Bundle.load(untrained_bundle)
    bundle = Bundle.load(shipped)
    assert (shipped / "weights.safetensors").stat().st_size < 0.52 * sum(
        t.numel() * t.element_size() for t in source.weights.values()
    )
    picture = printed("word")
    alone = Recognizer.load(shipped, language=False)
    (read,), (before,) = alone([picture]), Recognizer.load(untrained_bundle)([picture])
    assert read.text == before.text
    assert bundle.language
    assert bundle.language.model.log_prob("yang") > bundle.language.model.log_prob("gnay")
    assert bundle.calibration
    assert bundle.calibration_alone
    for calibration in ("calibration", "calibration_alone"):
        assert bundle.provenance[calibration]["words"] == len(WORDS) * 30
    card = (shipped / "README.md").read_text()
    origin = "| began with | `zero` `0abc`, after 500 pictures |"
    otherwise = "--window-rows 1 --pack-columns 1 --preprocess.contrast 30.0 --optimizer.learning-rate 0.5"
    assert f"--images 7300 {otherwise} --start-from zero  # bundle 0abc\n" in card
    facts = ("| seed | 7 |", "| hours | 1.0 |", "two cores", "7,200 seen, of 210", bundle.fingerprint)
    for told in (*facts, origin):
        assert told in card
    assert re.search(r"\| words \| 210 \| [\d.]+ \([\d.]+ to [\d.]+\) \|", card)
    assert re.search(r"\| words, network alone \| 210 \| [\d.]+ \(", card)
    assert "6-gram of characters" in card
    assert re.search(
        r"not fitted is 0\.\d+ \(0\.\d+ before\); confidences of the network alone .* 0\.\d+ \(", card
    )
    assert (shipped / "errors-words.png").read_bytes().startswith(b"\x89PNG")
    for text in (card, (shipped / "bundle.json").read_text()):
        assert str(tmp_path) not in text
        assert "/home/me" not in text
        assert f'"{socket.gethostname()}"' not in text


def test_what_does_not_belong_together_is_refused(
    run: Path, data: str, tiny_assets: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, output = str(tmp_path / "other"), tmp_path / "models"
    write_data_set(other, word_rows(["other"]), shard_rows=1)
    arguments = flags(run, data, tiny_assets, output)
    arguments[arguments.index("--train-data") + 1] = other
    assert main(arguments) == 2
    assert "Give the one that it learnt from" in capsys.readouterr().err
    _learnt_from(run, Manifest.read(other).fingerprint)
    assert main(arguments) == 2
    assert "wasn't rendered by jobs/synthesize.py" in capsys.readouterr().err
    write_data_set(other, word_rows(["other"]), shard_rows=1, assets="0abc")
    assert main(arguments) == 2
    assert "was drawn with assets 0abc" in capsys.readouterr().err
    fingerprint = Manifest.read(data).fingerprint
    _learnt_from(run, {"a": [fingerprint, "1/2"], "b": ["0", "1/2"]})
    assert main(flags(run, data, tiny_assets, output)) == 2
    assert "a mixture of a, b" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="zz is none"):
        ShipConfig(run="r", train_data="d", assets="a", data=("x=y",), calibrate_on=("zz",))
    (run / "finished.json").unlink()
    assert main(flags(run, data, tiny_assets, output)) == 2
    assert "holds no finished run" in capsys.readouterr().err
    assert not output.exists()


def _learnt_from(run: Path, data: object) -> None:
    identity = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(identity | {"data": data}))


@pytest.mark.parametrize("recipe", sorted(RECIPES))
@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--network", "small-residual", "--charset", "alnum36-drop", "--seed", "3", "--pack-columns", "999"],
        ["--optimizer.kind", "adamw", "--optimizer.intermediate", "0", "--preprocess.turn", "0"],
        ["--optimizer.kind", "muon", "--optimizer.matrix-rate", "0.5", "--optimizer.intermediate", "0.2"],
    ],
)
def test_the_command_of_a_card_trains_the_same_again(recipe: str, flags: list[str]) -> None:
    wanted = ["--images", "70", "--data", "d", "--validation", "v=v"]
    config = parse_recipe(RECIPES, [recipe, *flags, *wanted], "train")
    manifest = Manifest(shards=())
    for name in (recipe, "a run's"):
        plan = Plan(config=replace(config, name=name), data={"train": manifest}, held_out={"v": manifest})
        told = _command((None, name), 70, plan.identity, {})
        words = shlex.split(told.removeprefix("python jobs/train.py "))
        again: TrainConfig = parse_recipe(RECIPES, [*words, "--data", "d", "--validation", "v=v"], "train")
        assert (again.name, again.start_from) == (name, None)
        assert replace(plan, config=again).identity == plan.identity
        assert again.images == 70


def test_what_the_usual_recipe_has_is_not_told() -> None:
    manifest = Manifest(shards=())
    config = replace(RECIPES["small"](), data=("d",), validation=("v=v",))
    plan = Plan(config=config, data={"train": manifest}, held_out={"v": manifest})
    assert _command((None, "small"), 9, plan.identity, {}) == "python jobs/train.py small --images 9"
