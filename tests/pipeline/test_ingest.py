import io
import os
import signal
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError, LostTaskError
from pipeline.ingest import REJECTS, ingest, write_part
from pipeline.manifest import Manifest
from pipeline.shards import read_shard
from pipeline.sources.catalogue import FORMATS
from pipeline.sources.json_lists import json_lines
from pipeline.sources.samples import Reject, Sample, SourceError, SourceOptions
from pipeline.sources.tar_files import webdataset


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


def test_real_crops_with_their_lexicons_become_a_data_set(shared: Path, tmp_path: Path) -> None:
    options = SourceOptions(
        input=str(shared / "formats/svt_train.xml"),
        images=str(shared / "data/svt_train/images"),
        crops="{:04d}.png",
        split="train",
    )
    done = ingest("svt", options, str(tmp_path), source="svt")
    assert (done.read, done.kept, done.rejected, done.found) == (257, 257, {}, False)
    manifest = Manifest.read(str(tmp_path))
    assert manifest.config["lexicons"] == {"50": [0, None]}
    (shard,) = manifest.shards
    rows = read_shard(str(tmp_path), shard).to_pylist()
    assert rows[0]["text"] == "LIVING"
    assert (rows[0]["source"], rows[0]["split"]) == ("svt", "train")
    assert all(row["text"] in row["lexicon"] for row in rows)
    assert rows[0]["image"] == (shared / "data/svt_train/images/0000.png").read_bytes()


def test_all_words_of_iiit5k_are_kept_from_its_character_boxes(shared: Path, tmp_path: Path) -> None:
    options = SourceOptions(
        input=str(shared / "formats/trainCharBound.mat"),
        images=str(shared / "data/iiit5k_train/images"),
        flatten=True,
    )
    done = ingest("iiit5k", options, str(tmp_path), source="iiit5k")
    assert (done.read, done.kept) == (2000, 2000)
    (shard,) = done.manifest.shards
    rows = read_shard(str(tmp_path), shard, ["text", "split", "width", "height"]).to_pylist()
    labels = (shared / "data/iiit5k_train/labels.tsv").read_text().splitlines()
    assert [row["text"] for row in rows] == [line.split("\t")[1] for line in labels]
    assert {row["split"] for row in rows} == {"train"}


def test_all_entries_are_kept_or_rejected_and_a_second_run_finds_them(shared: Path, tmp_path: Path) -> None:
    options = SourceOptions(
        input=str(shared / "formats/ic15_train_gt.txt"),
        images=str(shared / "data/ic15_train/images"),
    )
    with pytest.raises(SourceError, match="--suffix"):  # the images were converted
        ingest("icdar", options, str(tmp_path / "a"), source="ic15")
    rejects = pq.read_table(tmp_path / "a" / REJECTS)
    assert rejects.num_rows == 4468
    assert "ic15_train_gt.txt:" in rejects["detail"][0].as_py()
    converted = SourceOptions(input=options.input, images=options.images, suffix=".jpg")
    done = ingest("icdar", converted, str(tmp_path / "b"), source="ic15")
    assert done.read == done.kept + sum(done.rejected.values()) == 4468
    assert len(done.manifest.shards) == 2
    again = ingest("icdar", converted, str(tmp_path / "b"), source="ic15")
    assert again.found
    assert again.manifest.fingerprint == done.manifest.fingerprint
    with pytest.raises(ConfigError, match="made otherwise"):
        ingest("icdar", converted, str(tmp_path / "b"), source="other")


@dataclass(frozen=True)
class Forgetful:
    """A reader that loses one of its three entries."""

    size: int = 3

    def read(self) -> Iterator[Sample | Reject]:
        for name in "ab":
            yield Reject(id=name, reason="r", detail="d")


def test_a_reader_that_loses_entries_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="3 entries and 2 results"):
        write_part((0, Forgetful()), str(tmp_path), "s")


def test_an_archive_that_brings_its_readers_down_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deadly(Forgetful):
        def read(self) -> Iterator[Sample | Reject]:
            os.kill(os.getpid(), signal.SIGBUS)
            yield from ()

    monkeypatch.setitem(FORMATS, "lmdb", replace(FORMATS["lmdb"], open=lambda _: iter([Deadly()])))
    options = SourceOptions(input=str(tmp_path / "words"))
    with pytest.raises(LostTaskError, match=r"part 0 of .*words .* died, .* damaged file"):
        ingest("lmdb", options, str(tmp_path / "out"), source="x")


def test_what_is_no_unicode_is_escaped_in_whatever_is_written(tmp_path: Path) -> None:
    (tmp_path / "l.jsonl").write_text(
        '{"filename": "none.png", "text": "\\ud800"}\n{"filename": "\\ud800.png", "text": "x"}\n'
    )
    (part,) = json_lines(SourceOptions(input=str(tmp_path / "l.jsonl")))
    shard, rejects = write_part((0, part), str(tmp_path), "s")
    assert shard is None
    assert rejects["id"].to_pylist() == ["none.png#1", "\\ud800.png#2"]
    assert rejects["text"].to_pylist() == ["\\ud800", "x"]
    buffer, info = io.BytesIO(), tarfile.TarInfo("caf\xe9.png")
    with tarfile.open(fileobj=buffer, mode="w", encoding="latin-1", format=tarfile.GNU_FORMAT) as archive:
        archive.addfile(info)
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    (tar,) = webdataset(SourceOptions(input=str(tmp_path / "a.tar")))
    assert write_part((1, tar), str(tmp_path), "s")[1]["id"].to_pylist() == ["a.tar/caf\\udce9"]


def test_the_same_archive_gives_the_same_fingerprint(shared: Path, tmp_path: Path) -> None:
    options = SourceOptions(input=str(shared / "formats/mmocr_toy/labels.json"), images=None)
    images = SourceOptions(input=options.input, images=str(shared / "formats/mmocr_toy/imgs"))
    first = ingest("mmocr-json", images, str(tmp_path / "a"), source="toy")
    second = ingest("mmocr-json", images, str(tmp_path / "b"), source="toy")
    assert first.manifest.fingerprint == second.manifest.fingerprint
    assert first.kept == 10
