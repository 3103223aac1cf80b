import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.storage import join, write_atomic
from pipeline.synthesis.assets import ORDINARY, Assets, fingerprint


@pytest.fixture
def folder(small_assets: str, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(small_assets, tmp_path / "assets"))


def upload(folder: Path, uri: str) -> str:
    for path in folder.iterdir():
        write_atomic(join(uri, path.name), path.read_bytes())
    return uri


def change(folder: Path, **values: Any) -> None:
    record = json.loads((folder / "assets.json").read_text()) | values
    (folder / "assets.json").write_text(json.dumps(record))


def test_what_was_built_is_mapped_not_read(small_assets: str) -> None:
    assets = Assets.open(small_assets, verify=True)
    assert all(
        isinstance(a, np.memmap) for a in (assets.glyphs, assets.index, assets.kerning, assets.textures)
    )
    assert assets.index.shape == (len(assets.faces), len(assets.characters), 7)
    assert assets.kerning.shape == (len(assets.faces), len(assets.characters), len(assets.characters))


def test_every_glyph_lies_within_the_blob_and_none_overlaps_another(small_assets: str) -> None:
    assets = Assets.open(small_assets)
    offset, width, height, *_, present = np.moveaxis(assets.index, 2, 0)
    starts, sizes = offset[present == 1], (width * height)[present == 1]
    assert (sizes > 0).all()
    assert (starts + sizes == np.append(starts[1:], len(assets.glyphs))).all()


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_design_is_drawn_first_then_one_of_its_faces(small_assets: str, split: Any) -> None:
    assets = Assets.open(small_assets)
    ids, probabilities = assets.face_ids(split, ordinary=0)
    by_design: dict[str, list[float]] = defaultdict(list)
    for i, probability in zip(ids, probabilities, strict=True):
        assert assets.faces[i].split == split
        by_design[assets.faces[i].design].append(probability)
    for same in by_design.values():
        assert np.allclose(same, 1 / len(by_design) / len(same))


def test_seven_of_ten_draws_more_are_from_ordinary_faces(small_assets: str) -> None:
    assets = Assets.open(small_assets)
    ids, fair = assets.face_ids("train", ordinary=0)
    _, probabilities = assets.face_ids("train", ordinary=0.7)
    plain = np.array([assets.faces[i].kind in ORDINARY for i in ids])
    assert probabilities.sum() == pytest.approx(1)
    assert probabilities[plain].sum() == pytest.approx(0.7 + 0.3 * fair[plain].sum())
    with pytest.raises(ConfigError, match="share"):
        assets.face_ids("train", ordinary=1.2)


def test_no_design_is_in_both_splits(small_assets: str) -> None:
    faces = Assets.open(small_assets).faces
    train, validation = ({f.design for f in faces if f.split == s} for s in ("train", "validation"))
    assert train
    assert validation
    assert not train & validation


def test_characters_without_glyphs_are_named(small_assets: str) -> None:
    assets = Assets.open(small_assets)
    assert [assets.characters[i] for i in assets.indices("Exit!")] == list("Exit!")
    with pytest.raises(ConfigError, match="'é', '한'"):
        assets.indices("Café한글한"[:5])


def test_a_folder_without_a_record_is_no_assets(folder: Path) -> None:
    (folder / "assets.json").unlink()
    with pytest.raises(DataError, match=r"jobs/assets\.py"):
        Assets.open(str(folder))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema_version": 1}'])
def test_a_broken_record_is_told(folder: Path, text: str) -> None:
    (folder / "assets.json").write_text(text)
    with pytest.raises(DataError, match="damaged"):
        Assets.open(str(folder))


def test_another_version_is_told(folder: Path) -> None:
    change(folder, schema_version=99)
    with pytest.raises(DataError, match="version 99"):
        Assets.open(str(folder))


def test_a_record_that_was_changed_is_told(folder: Path) -> None:
    change(folder, characters="abc")
    with pytest.raises(DataError, match="changed"):
        Assets.open(str(folder))


def test_faces_of_another_shape_are_told(folder: Path) -> None:
    record = json.loads((folder / "assets.json").read_text())
    record["faces"][0].pop("case")
    change(folder, faces=record["faces"], fingerprint=fingerprint(record))
    with pytest.raises(DataError, match="damaged"):
        Assets.open(str(folder))


@pytest.mark.parametrize("name", ["glyphs.npy", "words.arrow"])
def test_a_file_that_is_cut_short_or_gone_is_told(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1])
    with pytest.raises(DataError, match=name):
        Assets.open(str(folder))
    (folder / name).unlink()
    with pytest.raises(DataError, match=name):
        Assets.open(str(folder))


def test_a_flipped_bit_is_found_by_verifying(folder: Path) -> None:
    data = bytearray((folder / "glyphs.npy").read_bytes())
    data[-1] ^= 1
    (folder / "glyphs.npy").write_bytes(data)
    Assets.open(str(folder))
    with pytest.raises(DataError, match="checksum"):
        Assets.open(str(folder), verify=True)


def test_assets_in_a_bucket_are_copied_once_and_are_the_same(
    folder: Path, s3_bucket: str, s3_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    uri = upload(folder, join(s3_bucket, "assets"))
    first, here = Assets.open(uri), Assets.open(str(folder))
    assert first.fingerprint == here.fingerprint
    assert first.words.equals(here.words)
    assert np.array_equal(first.glyphs, here.glyphs)
    s3_server.order()
    Assets.open(uri)
    assert {path.rsplit("/", 1)[-1] for _, path, _ in s3_server.requests()} <= {"assets.json", ""}


def test_a_damaged_file_in_a_bucket_is_never_kept(
    folder: Path, s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    uri = upload(folder, join(s3_bucket, "assets"))
    write_atomic(join(uri, "index.npy"), b"other")
    with pytest.raises(DataError, match=r"index\.npy"):
        Assets.open(uri)
    write_atomic(join(uri, "index.npy"), (folder / "index.npy").read_bytes())
    assert Assets.open(uri).faces
