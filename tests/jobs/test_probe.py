"""A probe renders, trains, reads and writes its figures down; nothing is written down twice."""

from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.checkpoint import Bundle
from crnn.metrics import Counts
from jobs import train
from jobs.probe import ProbeConfig, _steps, add_rows, main, read_table, run
from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport
from pipeline.manifest import Manifest
from pipeline.order import plan_windows
from tests.datasets import word_rows, write_data_set


def test_a_probe_adds_its_figures_once(
    tiny_assets: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    write_data_set("photographs", word_rows(["ab", "cd"]), shard_rows=2)
    flags = ["--name", "no-curve", "--assets", tiny_assets, "--data", "photographs=photographs"]
    flags += ["--images", "64", "--table", "docs/probe.tsv", "--", "--pictures.chances.curve", "0"]
    assert main(flags) == 0
    rows = read_table(Path("docs/probe.tsv"))
    assert [(row[4], row[5]) for row in rows] == [("held_out", "64"), ("photographs", "2")]
    (pictures,) = Path("out/probe/pictures").iterdir()
    learnt = Manifest.read(str(pictures / "train"))
    for name, change, images, seed, *_, alone, read, data, _revision in rows:
        assert (name, change, images, seed) == ("no-curve", "--pictures.chances.curve 0", "64", "7")
        assert all(0 <= float(accuracy) <= 100 for accuracy in (alone, read))
        assert learnt.fingerprint.startswith(data)
    assert Bundle.load("out/probe/no-curve/reading").language is not None
    assert "no-curve" in capsys.readouterr().out
    assert main(flags) == 2
    assert "has a probe 'no-curve' already" in capsys.readouterr().err
    assert read_table(Path("docs/probe.tsv")) == rows

    flags[flags.index("no-curve")] = "last-weights"
    drawn = {file: file.stat().st_mtime_ns for file in pictures.rglob("*.parquet")}
    assert main(["--train=--optimizer.ema-decay 0", *flags]) == 0
    assert {file: file.stat().st_mtime_ns for file in Path("out/probe").rglob("shards/*.parquet")} == drawn
    changes = {row[0]: row[1] for row in read_table(Path("docs/probe.tsv"))}
    assert changes["last-weights"] == "'--train=--optimizer.ema-decay 0' -- --pictures.chances.curve 0"


@settings(deadline=None)
@given(
    rows=st.integers(1, 100), shard_rows=st.integers(1, 40), window_rows=st.integers(1, 60), data=st.data()
)
def test_each_picture_is_seen_once_though_a_few_labels_can_not_be_learnt_from(
    rows: int, shard_rows: int, window_rows: int, data: st.DataObject
) -> None:
    shards = [min(shard_rows, rows - first) for first in range(0, rows, shard_rows)]
    lost = data.draw(st.integers(0, min(shards) - 1))
    usable = list(shards)
    for _ in range(lost):
        usable[data.draw(st.sampled_from([i for i, n in enumerate(usable) if n]))] -= 1
    config = ProbeConfig(name="a", data=(), assets="none", images=rows)
    with TemporaryDirectory() as folder:
        write_data_set(folder, word_rows(["ab"] * rows), shard_rows=shard_rows)
        *_, (job, flags) = _steps(config, folder, folder, folder, ())
    assert job is train.main
    images = int(flags[flags.index("--images") + 1])
    windows = plan_windows(usable, images=images, window_rows=window_rows, seed=7)
    seen = Counter(part.shard for window in windows for part in window.parts)
    assert seen == {i: 1 for i, n in enumerate(usable) if n}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("--images 9", "can't change --images"),
        ("--seed=9", "--seed"),
        ("--save_every 9", "--save-every"),
        ("'", "No closing quot"),
    ],
)
def test_flags_of_training_that_make_another_probe_are_refused(flags: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        ProbeConfig(name="a", data=(), assets="none", train=flags)


def test_pictures_that_make_another_probe_are_refused(tmp_path: Path) -> None:
    config = ProbeConfig(name="a", data=(), assets="none", table=str(tmp_path / "t.tsv"))
    with pytest.raises(ConfigError, match=r"behind -- can't change --pictures.coding, --rows, --seed"):
        run(config, ["--seed", "9", "--rows=5", "--pictures.coding", "jpeg"])


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text("name\taccuracy %\nbaseline\t58.9\n")
    with pytest.raises(ConfigError, match=r"other columns .* another --table"):
        run(ProbeConfig(name="a", data=(), assets="none", table=str(path)), [])


def test_figures_stand_under_what_they_are_of(tmp_path: Path) -> None:
    def report(right: int) -> EvaluationReport:
        pairs = [("a", "a")] * right + [("a", "b")] * (4 - right)
        part = SimpleNamespace(name="svt", counts=Counts.over(pairs))
        return cast(EvaluationReport, SimpleNamespace(sets=(part,)))

    path = tmp_path / "t.tsv"
    for name in ("first", "second"):
        add_rows(path, (name, "none", "9", "7"), "0123456789abcdef", (report(1), report(3)), "abc+changes")
    heading, *_ = path.read_text().splitlines()
    first, second = (dict(zip(heading.split("\t"), row, strict=True)) for row in read_table(path))
    assert first | {"name": "second"} == second
    told = {"set": "svt", "words": "4", "accuracy %": "25.0", "with language %": "75.0"}
    assert first == {"name": "first", "change": "none", "images": "9", "seed": "7"} | told | {
        "data": "0123456789ab",
        "revision": "abc+changes",
    }
