import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from pipeline.sources import matlab
from pipeline.sources.files import Entry
from pipeline.sources.matlab import LEXICONS, iiit5k
from pipeline.sources.samples import MALFORMED, Reject, SourceError, SourceOptions


def entries(path: Path) -> list[Entry | Reject]:
    return [e for part in iiit5k(SourceOptions(input=str(path))) for e in part.entries]


def test_character_boxes_give_the_words_of_the_training_set(shared: Path) -> None:
    found = entries(shared / "formats/trainCharBound.mat")
    assert len(found) == 2000
    assert isinstance(found[0], Entry)
    assert (found[0].text, found[0].split, found[0].lexicon) == ("You", "train", None)


def test_the_test_set_keeps_both_lexicons_apart(shared: Path, tmp_path: Path) -> None:
    with (shared / "formats/iiit5k_testdata_sample.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    records = [
        {
            "ImgName": row["ImgName"],
            "GroundTruth": row["GroundTruth"],
            "smallLexi": np.array(row["smallLexi"].split(","), dtype=object),
            "mediumLexi": np.array([row[f"mediumLexi_{i}"] for i in range(1, 1001)], dtype=object),
        }
        for row in rows
    ]
    savemat(tmp_path / "testdata.mat", {"testdata": np.array(records)})
    found = entries(tmp_path / "testdata.mat")
    assert len(found) == len(rows)
    for entry, row in zip(found, rows, strict=True):
        assert isinstance(entry, Entry)
        assert (entry.text, entry.split) == (row["GroundTruth"], "test")
        assert entry.lexicon is not None
        small, medium = (entry.lexicon[slice(*LEXICONS[name])] for name in ("50", "1k"))
        assert list(small) == row["smallLexi"].split(",")
        assert list(medium) == [row[f"mediumLexi_{i}"] for i in range(1, 1001)]


def test_a_record_that_is_not_whole_is_named(tmp_path: Path) -> None:
    good = {"ImgName": "a.png", "GroundTruth": "A", "smallLexi": np.array(["A"] * 50, dtype=object)}
    short = {"ImgName": "b.png", "GroundTruth": "B", "smallLexi": np.array(["B"] * 3, dtype=object)}
    bare = {"ImgName": "c.png", "GroundTruth": np.zeros(2), "smallLexi": np.array([], dtype=object)}
    savemat(tmp_path / "t.mat", {"traindata": np.array([good, short, bare])})
    kept, *bad = entries(tmp_path / "t.mat")
    assert isinstance(kept, Entry)
    assert [e.reason for e in bad if isinstance(e, Reject)] == [MALFORMED, MALFORMED]
    assert "record 2" in bad[0].detail  # type: ignore[union-attr]


def test_a_file_that_brings_its_parser_down_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.mat"
    records = np.zeros(2, dtype=[("ImgName", object), ("GroundTruth", object)])
    records["ImgName"], records["GroundTruth"] = ["a.png", "b.png"], ["x", "y"]
    savemat(path, {"testdata": records})
    whole = path.read_bytes()
    # The parser of scipy 1.17 reads beyond what it has of this, and dies of it or not.
    path.write_bytes(whole[:337] + b"\x3b" + whole[338:])
    with pytest.raises(SourceError, match=r"its parser died|can be read"):
        entries(path)


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"died \(Segmentation fault\).*again"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", r"died \(Killed\).*too little memory"),
        ("raise SystemExit('no scipy')", "ended with 1: no scipy"),
    ],
)
def test_how_the_parser_ended_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, told: str
) -> None:
    (tmp_path / "reader.py").write_text(script)
    monkeypatch.setattr(matlab, "READER", tmp_path / "reader.py")
    savemat(tmp_path / "t.mat", {"x": np.zeros(3)})
    with pytest.raises(SourceError, match=told):
        entries(tmp_path / "t.mat")


def test_another_file_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "other.mat", {"x": np.zeros(3)})
    with pytest.raises(SourceError, match="trainCharBound"):
        entries(tmp_path / "other.mat")
    (tmp_path / "text.mat").write_text("hello")
    with pytest.raises(SourceError, match="no MATLAB file"):
        entries(tmp_path / "text.mat")
