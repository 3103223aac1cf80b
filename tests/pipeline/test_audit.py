"""Every label is looked at before training: read == kept + rejected, and each rejected one is named."""

import json
from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from crnn.charset import ALNUM36, ALNUM36_DROP
from crnn.networks import SMALL
from crnn.preprocess import PreprocessConfig
from pipeline.audit import REJECTS, REPORT, audit, read_audit
from pipeline.errors import DataError
from pipeline.labels import LabelRules
from pipeline.manifest import Manifest
from pipeline.synthesis.stream import Stream
from tests.datasets import word_rows, write_data_set

RULES = LabelRules(charset=ALNUM36, preprocess=PreprocessConfig(widening=0), network=SMALL)


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


BAD = {4: "", 11: "naïve", 12: "Ω", 29: "y" * 70}


def some_rows() -> list[dict[str, Any]]:
    """30 rows: 4 can't be learnt from, one is narrow for its label."""
    rows: list[dict[str, Any]] = word_rows(["one", "Two", "three"] * 10)
    for i, text in BAD.items():
        rows[i]["text"] = text
    rows[2]["width"] = 16
    return rows


@pytest.fixture
def data(tmp_path: Path) -> tuple[str, Manifest]:
    rows = some_rows()
    return str(tmp_path / "data"), write_data_set(str(tmp_path / "data"), rows, shard_rows=8)


def test_rejected_rows_are_counted_by_reason_and_written_out(
    data: tuple[str, Manifest], tmp_path: Path
) -> None:
    found = audit(*data, RULES, str(tmp_path / "report"))
    assert found.read == 30 == found.kept + sum(found.rejected.values())
    assert found.rejected == {"empty_label": 1, "label_too_long": 1, "outside_charset": 2}
    assert found.kept_per_shard == (7, 6, 8, 5)
    assert found.longest == 5
    kept = [row for i, row in enumerate(some_rows()) if i not in BAD]
    letters = Counter("".join(row["text"].lower() for row in kept))
    assert found.characters == {c: letters[c] for c in ALNUM36.characters}
    assert found.outside == {"ï": 1, "ω": 1}
    widths = [RULES.check(row["text"], row["width"], row["height"])[1] for row in kept]
    assert found.mean_width == pytest.approx(sum(widths) / len(widths), abs=0.01)
    assert found.tight == 1
    assert 0 < found.padding_share < 0.3
    rejects = pq.read_table(tmp_path / "report" / REJECTS).to_pylist()
    assert [(r["id"], r["text"], r["reason"]) for r in rejects] == [
        ("word-00004", "", "empty_label"),
        ("word-00011", "naïve", "outside_charset"),
        ("word-00012", "Ω", "outside_charset"),
        ("word-00029", "y" * 70, "label_too_long"),
    ]
    assert read_audit(str(tmp_path / "report")) == found
    # What an older version wrote is made anew, as if it weren't there.
    report = tmp_path / "report" / REPORT
    report.write_text(json.dumps({k: v for k, v in json.loads(report.read_text()).items() if k != "tight"}))
    assert read_audit(str(tmp_path / "report")) is None
    assert audit(*data, RULES, str(tmp_path / "report")) == found


def test_what_labels_lose_to_a_charset_that_drops_others_is_counted(data: tuple[str, Manifest]) -> None:
    found = audit(*data, replace(RULES, charset=ALNUM36_DROP), None)
    assert found.read == 30 == found.kept + sum(found.rejected.values())
    assert found.rejected == {"empty_label": 1, "label_too_long": 1, "outside_charset": 1}
    assert found.outside == {"ï": 1, "ω": 1}  # "naïve" is kept as "nave"


def test_of_a_stream_a_sample_is_read_and_its_rejects_are_named(tiny_assets: str, tmp_path: Path) -> None:
    stream = Stream.open(f"synth://easy?assets={tiny_assets}", ALNUM36)
    rules = replace(RULES, preprocess=PreprocessConfig(max_width=128))
    found = audit(stream.uri, stream, rules, str(tmp_path))
    assert found.endless
    assert found.shard_rows is None
    assert len(found.kept_per_shard) == 4
    assert found.read == 4096 == found.kept + found.rejected["too_wide"]
    assert 0 < found.rejected["too_wide"] < 4096
    rejects = pq.read_table(tmp_path / REJECTS).to_pylist()
    assert len({row["id"] for row in rejects}) == found.rejected["too_wide"]
    sampled = [row["id"] for number in range(4) for row in islice(stream.shard(number), 1024)]
    assert {row["id"] for row in rejects} < set(sampled)
    assert read_audit(str(tmp_path)) == found


def test_a_manifest_of_other_shards_is_refused(data: tuple[str, Manifest], tmp_path: Path) -> None:
    uri, manifest = data
    lying = replace(manifest, shards=(replace(manifest.shards[0], rows=9), *manifest.shards[1:]))
    with pytest.raises(DataError, match="9"):
        audit(uri, lying, RULES, str(tmp_path / "report"))
    assert read_audit(str(tmp_path / "report")) is None


def test_data_without_one_usable_row_is_refused_and_the_rows_are_named_all_the_same(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = word_rows(["ä", "ö"])
    manifest = write_data_set(str(tmp_path / "data"), rows, shard_rows=8)
    with pytest.raises(DataError, match=r"none of 2 rows .*outside_charset"):
        audit(str(tmp_path / "data"), manifest, RULES, str(tmp_path / "report"))
    assert pq.read_table(tmp_path / "report" / REJECTS).num_rows == 2
