import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from pipeline.sources.samples import Reject, Sample, SourceOptions
from pipeline.sources.tar_files import webdataset


def read(uri: Path | str, **options) -> list[Sample | Reject]:
    return [f for part in webdataset(SourceOptions(input=str(uri), **options)) for f in part.read()]


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (40, 20), 128).save(buffer, "PNG")
    return buffer.getvalue()


def tar(path: Path, members: list[tuple[str, bytes]], encoding: str = "utf-8") -> Path:
    with tarfile.open(path, "w", encoding=encoding, format=tarfile.GNU_FORMAT) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def words(count: int) -> list[tuple[str, bytes]]:
    """Members of so many keys; each takes up two blocks, header and content."""
    return [
        (f"{i}.{kind}", picture() if kind == "png" else b"w") for i in range(count) for kind in ("png", "txt")
    ]


def test_webdataset_pairs_members_by_key(tmp_path: Path) -> None:
    members = [
        ("a/000.jpg", picture()),
        ("a/000.txt", "wörd\n".encode()),
        ("a/001.json", json.dumps({"text": "json"}).encode()),
        ("a/001.png", picture()),
        ("a/002.png", picture()),
        ("a/003.txt", b"x"),
        ("a/004.cls", b"4"),
        ("a/004.txt", b"\xff"),
        ("a/005.json", b"[]"),
        ("a/006.json", b"[" * 100_000),
        ("a/.DS_Store", b"x"),
    ]
    tar(tmp_path / "000.tar", members)
    found = read(tmp_path, split="val")
    assert [f.text for f in found if isinstance(f, Sample)] == ["wörd", "json"]
    assert [f.reason for f in found if isinstance(f, Reject)] == [
        "missing_label",
        "missing_image",
        "bad_encoding",
        "malformed_annotation",
        "malformed_annotation",
        "missing_label",
    ]
    assert len({f.id for f in found}) == 8


BLOCK = 512
assert len(picture()) < BLOCK


@pytest.mark.parametrize("damage", ["header", "cut between members", "cut in a header", "cut in a content"])
def test_what_is_lost_of_a_damaged_tar_file_is_said_and_what_came_before_is_kept(
    tmp_path: Path, damage: str
) -> None:
    path = tar(tmp_path / "a.tar", words(9))
    data = bytearray(path.read_bytes())
    fourth = 4 * 2 * BLOCK  # header of 2.png: two keys are whole before it
    match damage:
        case "header":
            data[fourth + 150] ^= 0xFF
        case "cut between members":
            del data[fourth:]
        case "cut in a header":
            del data[fourth + 100 :]
        case "cut in a content":
            del data[fourth + BLOCK + 20 :]
    path.write_bytes(data)
    *kept, lost = read(path)
    assert [type(f) for f in kept] == [Sample, Sample]
    assert isinstance(lost, Reject)
    assert lost.id == "a.tar#broken"
    assert "broken after '1'" in lost.detail


def test_a_sound_tar_file_has_no_broken_end_whatever_pads_it(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", words(2))
    for end in (BLOCK, 2 * BLOCK, 20 * BLOCK):
        path.write_bytes(path.read_bytes().rstrip(b"\0").ljust(4 * 2 * BLOCK, b"\0") + b"\0" * end)
        assert [type(f) for f in read(path)] == [Sample, Sample]


def test_a_tar_file_behind_another_is_not_lost_in_silence(tmp_path: Path) -> None:
    path = tar(tmp_path / "a.tar", words(1))
    path.write_bytes(path.read_bytes() * 2)
    assert [type(f) for f in read(path)] == [Sample, Reject]


def test_keys_that_come_again_are_samples_of_their_own(tmp_path: Path) -> None:
    pair = [("a.png", picture()), ("a.txt", b"one")]
    again = [("a.png", picture()), ("a.txt", b"two")]
    tar(tmp_path / "a.tar", pair + again + words(1) + pair)
    found = read(tmp_path / "a.tar")
    assert [f.text for f in found if isinstance(f, Sample)] == ["one", "two", "w", "one"]
    assert [f.id for f in found] == ["a.tar/a", "a.tar/a#2", "a.tar/0", "a.tar/a#3"]


def test_tar_files_of_one_name_in_different_folders_keep_their_ids_apart(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        tar(tmp_path / folder / "000.tar", words(1))
    assert [f.id for f in read(tmp_path)] == ["a/000.tar/0", "b/000.tar/0"]


def test_links_are_rejects_and_folders_are_nothing(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (("d", tarfile.DIRTYPE), ("l.png", tarfile.SYMTYPE), ("l.png", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "x"
            archive.addfile(info)
    found = read(tmp_path / "a.tar")
    assert [f.id for f in found if isinstance(f, Reject)] == ["a.tar#l.png", "a.tar#l.png#2"]


def test_members_too_large_to_decode_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.sources.tar_files.MAX_BYTES", 100)
    tar(tmp_path / "a.tar", [("a.txt", b"w"), ("a.png", bytes(101)), ("b.txt", bytes(101)), ("b.png", b"")])
    found = read(tmp_path / "a.tar")
    assert [f.reason for f in found if isinstance(f, Reject)] == ["too_large", "too_large"]
