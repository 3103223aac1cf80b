"""The training job as a person meets it: what it says, what it leaves, how it ends."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import ray

from crnn.recognizer import Recognizer
from jobs.cli import parse_recipe
from jobs.recipes import RECIPES
from jobs.runtime import ExitCode
from jobs.train import Line, main
from pipeline.lease import acquire
from pipeline.mlflow_run import find_run, mlflow_client
from pipeline.registry import resolve_model
from pipeline.start import images_in_all
from pipeline.train_plan import plan_run
from tests.datasets import word_rows, write_data_set

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
FROM_NOTHING = ("--start-from", "None", "--network", "tiny", "--charset", "alnum36", "--pack-columns", "3200")
FROM_NOTHING += ("--optimizer.learning-rate", "3e-3")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    rows: list[dict[str, Any]] = word_rows(["ab", "cd", "e1", "2"] * 20)
    rows[4]["text"] = "é"
    write_data_set(str(folder / "train"), rows, shard_rows=40)
    write_data_set(str(folder / "held_out"), word_rows(["ab", "cd"], "held"), shard_rows=40)
    return folder


@pytest.fixture
def flags(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A run of a few steps, from a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return [
        *("demo", *FROM_NOTHING, "--data", str(data / "train"), "--validation", f"words={data / 'held_out'}"),
        *("--images", "79", "--save-every", "40", "--window-rows", "40", "--name", "few"),
    ]


def test_a_run_ends_with_its_table_its_curves_and_a_registered_candidate(
    local_ray: None, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == ExitCode.OK
    told = capsys.readouterr().out
    assert re.search(r"words +2 +0", told)
    assert re.search(r"train +80 +79 +100.0% +1 +[\d.]+% +1 outside_charset", told)
    assert "models:/crnn/1, @candidate" in told
    store = f"sqlite:///{tmp_path}/out/mlflow.db"
    client = mlflow_client(store)
    run = find_run(client, "crnn", "few")
    assert run is not None
    assert run.info.status == "FINISHED"
    assert run.data.params["optimizer.kind"] == "muon"
    assert "crnn.revision" in run.data.tags
    assert {i.dataset.name for i in run.inputs.dataset_inputs} == {"train", "words"}
    wanted = {"train/loss", "train/learning_rate", "train/images_per_s", "train/data_wait_share"}
    assert wanted | {"validation/words/word_accuracy", "validation/words/cer"} <= set(run.data.metrics)
    pictures = [f.path for f in client.list_artifacts(run.info.run_id, "images") if f.path.endswith("png")]
    looks = [int(re.findall(r"validation~words\+step\+(\d+)\+", p)[0]) for p in pictures if "words" in p]
    assert sorted(looks)[0] == 0  # where MLflow's slider begins
    assert len(looks) == len(set(looks)) == 3
    model = resolve_model("models:/crnn@candidate", store)
    (version,) = client.search_model_versions("name='crnn'")
    assert re.fullmatch(
        r"words: [\d.]+% of 2 words, CER [\d.]+%\. Run few, after \d\d images\.", version.description
    )
    assert Recognizer.load(model.directory).bundle.provenance["images_seen"] == 79
    # The same command again finds all of it and makes no second version.
    assert main(flags) == ExitCode.OK
    assert "was finished before" in capsys.readouterr().out
    assert resolve_model("models:/crnn@candidate", store).version == "1"
    assert main([*flags, "--name", "crowd", "--workers", "4"]) == ExitCode.BAD_CONFIG
    assert "4 workers and their data need 5 CPUs, of which there are 4" in capsys.readouterr().err
    further = ["--name", "further", "--start-from", "models:/crnn@candidate", "--charset", "latin94"]
    assert main([*flags, *further]) == ExitCode.OK
    told = capsys.readouterr().out
    assert re.search(r"began with +models:/crnn/1: 62 characters as they were; 32 new ones begin at", told)
    tuned = find_run(client, "crnn", "further")
    assert tuned is not None
    assert tuned.data.tags["crnn.start_from"] == "models:/crnn/1"
    tuned_bundle = Recognizer.load(resolve_model("models:/crnn/2", store).directory).bundle
    assert tuned_bundle.provenance["started_from"] == {
        "uri": "models:/crnn/1",
        "fingerprint": model.digest,
        "images_seen": 79,
    }
    assert images_in_all(tuned_bundle.provenance) == 2 * 79


def test_the_live_line_has_no_accuracy_before_the_first_look(capsys: pytest.CaptureFixture[str]) -> None:
    facts = {"images": 9, "total": 99, "step": 3, "loss": 2.5, "data_wait": 0.0, "seconds_left": 9.0}
    for more, told in (({}, False), ({"accuracy": 0.0}, True)):
        line = Line()
        line.show(facts | more)
        line.close()
        shown = "".join(capsys.readouterr())
        assert "loss 2.5" in shown
        assert ("accuracy 0.0%" in shown) == told


@pytest.mark.usefixtures("local_ray")
def test_a_dry_run_tells_what_would_be_done_and_leaves_nothing(
    flags: list[str], data: Path, tmp_path: Path, tiny_assets: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = ["--data", f"many:2={data / 'train'}", f"two:1={data / 'held_out'}"]
    mixed.append(f"made:1=synth://easy?assets={tiny_assets}")
    assert main([*flags, *mixed, "--dry-run", "--check-batch"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert re.search(r"many +80 +79 +50.0% +0.5063 .* 1 outside_charset", told)
    assert re.search(r"two +2 +2 +25.0% +10 ", told)
    assert re.search(r"made +- +- +25.0% +- +10 ", told)
    assert re.search(r"words +2 +2 ", told)
    assert re.search(r"network +tiny: 25\d,\d\d\d parameters; 0.0\d GFLOPs", told)
    assert re.search(r"charset +alnum36: [123]\d of 36 characters occur; outside it é in 1 rows, rej", told)
    assert re.search(r"order +80 images in 2 windows", told)
    assert re.search(r"one batch +\d+ images, .*: learnt by heart", told)
    assert "! many is seen in part: 50.6% of its rows." in told
    assert "! words is two: " in told
    assert not (tmp_path / "out").exists()


def test_a_batch_that_can_not_be_learnt_ends_the_run_before_its_first_step(
    local_ray: None, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, Any]] = word_rows(["ab", "ab"])
    rows[1] |= {"image": rows[0]["image"], "text": "cd"}
    write_data_set(str(tmp_path / "odd"), rows, shard_rows=2)
    assert main([*flags, "--data", str(tmp_path / "odd"), "--check-batch"]) == ExitCode.FAILED
    assert "couldn't be learnt by heart" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("checkpoint_*"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (["--data", "no-such-set"], "no finished data set"),
        (["--data", "synth://scenes"], "no finished assets"),
        (["--validation", "nameless"], "name=URI"),
        (["--validation", "words=synth://scene"], "--split validation"),
        (["--images", "0"], "at least 1"),
        (["--imagse", "9"], "--images"),
        (["--name", "a/b"], "can't be one"),
        (["--register-as", "a/b"], "has no /, : or @"),
        (["--tracking", "ftp://x"], "no tracking URI"),
        (["--start-from", "no-such-bundle"], "no-such-bundle"),
    ],
)
def test_what_can_not_work_ends_before_ray_starts(
    no_ray: None, flags: list[str], capsys: pytest.CaptureFixture[str], change: list[str], told: str
) -> None:
    code = main([*flags, *change])
    assert code == (ExitCode.FAILED if change[0] == "--data" else ExitCode.BAD_CONFIG)
    assert told in " ".join(capsys.readouterr().err.split())  # long lines are broken
    assert not ray.is_initialized()


def test_a_run_that_somebody_is_at_is_left_alone(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = plan_run(parse_recipe(RECIPES, flags, "jobs/train.py"))
    with acquire(plan.config.run_uri, "few", silence_s=1.0):
        assert main(flags) == ExitCode.LEASE_HELD
    assert "few" in capsys.readouterr().err
    assert not (tmp_path / "out" / "mlflow.db").exists()


@pytest.mark.usefixtures("local_ray")
def test_a_run_that_another_took_over_ends_without_a_word_to_the_registry(
    flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lease = tmp_path / "out/demo/runs/few/lease"

    def take_over() -> None:
        while not (lease / "00000001.json").exists():
            time.sleep(0.05)
        (lease / "00000002.json").write_text("{}")

    other = threading.Thread(target=take_over, daemon=True)
    other.start()
    assert main(flags) == ExitCode.FENCED
    other.join()
    assert "Another run took over" in capsys.readouterr().err
    client = mlflow_client(f"sqlite:///{tmp_path}/out/mlflow.db")
    assert not client.search_registered_models()


def test_a_misspelt_recipe_is_told_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["smal"]) == ExitCode.BAD_CONFIG
    assert "Did you mean small?" in capsys.readouterr().err


def test_a_name_that_belongs_to_another_run_is_refused_and_its_entry_left_alone(
    flags: list[str], tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan_run(parse_recipe(RECIPES, flags, "jobs/train.py"))
    assert main([*flags, "--data", str(data / "held_out")]) == ExitCode.BAD_CONFIG
    assert "another data " in capsys.readouterr().err
    assert not (tmp_path / "out" / "mlflow.db").exists()
