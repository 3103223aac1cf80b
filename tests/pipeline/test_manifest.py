import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ManifestError
from pipeline.manifest import Manifest, ShardInfo

SHARDS = tuple(
    ShardInfo(name=f"shards/{i:06d}.parquet", rows=i + 1, bytes=9, sha256=f"{i:064x}") for i in range(5)
)


@given(st.permutations(SHARDS))
def test_the_fingerprint_does_not_depend_on_which_shard_was_done_first(shards: list[ShardInfo]) -> None:
    assert Manifest(shards=tuple(shards)) == Manifest(shards=SHARDS)
    assert Manifest(shards=tuple(shards)).fingerprint == Manifest(shards=SHARDS).fingerprint


def test_the_fingerprint_names_the_content_alone() -> None:
    whole = Manifest(shards=SHARDS)
    assert replace(whole, config={"seed": 1}, rejected={"empty": 3}).fingerprint == whole.fingerprint
    others = [
        Manifest(shards=SHARDS[:-1]),
        Manifest(shards=(*SHARDS[:-1], replace(SHARDS[-1], sha256="f" * 64))),
        replace(whole, schema_version=2),
        Manifest(shards=()),
    ]
    assert len({manifest.fingerprint for manifest in [whole, *others]}) == 5


def test_shards_that_swap_their_content_make_another_data_set() -> None:
    first, second = SHARDS[:2]
    swapped = (replace(first, sha256=second.sha256), replace(second, sha256=first.sha256))
    assert Manifest(shards=swapped).fingerprint != Manifest(shards=(first, second)).fingerprint


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    manifest = Manifest(shards=SHARDS, config={"seed": 7, "words": "größe"}, rejected={"empty": 2})
    manifest.write(str(tmp_path))
    assert Manifest.read(str(tmp_path)) == manifest
    assert manifest.rows == 15


def test_a_folder_without_a_manifest_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "shards").mkdir()
    with pytest.raises(ManifestError, match=r"no finished data set.*<output>/train"):
        Manifest.read(str(tmp_path))


def test_a_half_written_manifest_is_never_read(tmp_path: Path) -> None:
    Manifest(shards=SHARDS).write(str(tmp_path))
    whole = (tmp_path / "manifest.json").read_bytes()
    for length in range(0, len(whole) - 2, 37):
        (tmp_path / "manifest.json").write_bytes(whole[:length])
        with pytest.raises(ManifestError, match="damaged"):
            Manifest.read(str(tmp_path))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda record: record["shards"].pop(), "changed after"),
        (lambda record: record["shards"][0].update(rows=99), "changed after"),
        (lambda record: record.update(rows=99), "changed after"),
        (lambda record: record["shards"][0].update(name="../../etc/passwd"), "names of their own"),
        (lambda record: record["shards"][1].update(record["shards"][0]), "names of their own"),
        (lambda record: record["shards"][0].update(rows=-1), "fewer than 0"),
        (lambda record: record.update(schema_version=99), "version 99"),
        (lambda record: record.pop("shards"), "damaged"),
        (lambda record: record.update(surprise=1), "damaged"),
    ],
)
def test_a_manifest_that_was_changed_is_refused(tmp_path: Path, change: object, told: str) -> None:
    Manifest(shards=SHARDS).write(str(tmp_path))
    path = tmp_path / "manifest.json"
    record = json.loads(path.read_bytes())
    assert callable(change)
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(ManifestError, match=told):
        Manifest.read(str(tmp_path))


def test_a_record_that_is_no_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ManifestError, match="damaged"):
        Manifest.read(str(tmp_path))
