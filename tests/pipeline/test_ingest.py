from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError
from pipeline.ingest import REJECTS, ingest
from pipeline.manifest import Manifest
from pipeline.shards import read_shard
from pipeline.sources.samples import SourceError, SourceOptions


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


def test_the_same_archive_gives_the_same_fingerprint(shared: Path, tmp_path: Path) -> None:
    options = SourceOptions(input=str(shared / "formats/mmocr_toy/labels.json"), images=None)
    images = SourceOptions(input=options.input, images=str(shared / "formats/mmocr_toy/imgs"))
    first = ingest("mmocr-json", images, str(tmp_path / "a"), source="toy")
    second = ingest("mmocr-json", images, str(tmp_path / "b"), source="toy")
    assert first.manifest.fingerprint == second.manifest.fingerprint
    assert first.kept == 10
