import io
from pathlib import Path

import pytest
from PIL import Image

from crnn.errors import ImageRejectedError
from crnn.preprocess import MAX_BYTES
from pipeline.sources.files import Entry, FilesPart, folder_of, image_bytes, image_uri, in_parts
from pipeline.sources.samples import MALFORMED, MISSING_IMAGE, TOO_LARGE, Reject, Sample, SourceOptions


def picture(path: Path) -> str:
    buffer = io.BytesIO()
    Image.new("L", (40, 20), 128).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    return str(path)


def test_every_entry_gives_one_result_in_order(tmp_path: Path) -> None:
    there, gone = picture(tmp_path / "a.png"), str(tmp_path / "b.png")
    spoilt = Reject(id="3", reason="r", detail="d")
    part = FilesPart(
        (
            Entry(id="1", text="x", image=there, where="gt:1"),
            Entry(id="2", text="y", image=gone, where="gt:2"),
            spoilt,
            Entry(id="4", text="z", image=there, where="gt:4", box=(0, 0, 10, 10), lexicon=("z",)),
            Entry(id="5", text="nul", image=str(tmp_path / "a\0.png"), where="gt:5"),
        )
    )
    found = list(part.read())
    assert [f.id for f in found] == ["1", "2", "3", "4", "5"]
    assert isinstance(found[0], Sample)
    assert isinstance(found[1], Reject)
    assert (found[1].reason, found[1].text) == (MISSING_IMAGE, "y")
    assert "gt:2" in found[1].detail
    assert found[2] is spoilt
    assert isinstance(found[3], Sample)
    assert (found[3].width, found[3].lexicon) == (10, ("z",))
    assert isinstance(found[4], Reject)


def test_paths_that_can_be_no_file_are_missing_images(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    paths = ("folder", "", "x" * 300 + ".png", "loop", "\ud800.png")
    options = SourceOptions(input=f"{tmp_path}/gt.txt")
    entries = [Entry(id=p, text="x", image=image_uri(options, p), where="gt:1") for p in paths]
    found = list(FilesPart(tuple(entries)).read())
    assert [f.reason for f in found if isinstance(f, Reject)] == [MISSING_IMAGE] * 5


def test_an_image_too_large_to_decode_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageRejectedError, match=TOO_LARGE):
        image_bytes(str(tmp_path / "a.png"))


def test_parts_share_out_all_entries_once() -> None:
    entries = [Entry(id=str(i), text="x", image="y", where="z") for i in range(10)]
    parts = list(in_parts(entries, rows=4))
    assert [part.size for part in parts] == [4, 4, 2]
    assert [e for part in parts for e in part.entries] == entries
    assert list(in_parts([])) == []


def test_the_folder_of_a_file() -> None:
    assert folder_of("s3://b/a/gt.txt") == "s3://b/a"
    assert folder_of("/gt.txt") == "/"
    assert folder_of("gt.txt") == "."


def test_an_annotation_reads_no_picture_outside_of_its_folder(tmp_path: Path) -> None:
    picture(tmp_path / "private.png")
    (tmp_path / "archive").mkdir()
    there = picture(tmp_path / "archive/a.png")
    # A ".." of the person who starts the job is fine, one in the archive is not.
    options = SourceOptions(input=f"{tmp_path}/archive/../archive/gt.txt")
    paths = ("a.png", "./a.png", "../private.png", "x/../../private.png", "..\\private.png")
    entries = [Entry(id=p, text="x", image=image_uri(options, p), where=p) for p in paths]
    assert entries[0].image == there
    found = list(FilesPart(tuple(entries)).read())
    assert [type(f) for f in found] == [Sample, Sample, Reject, Reject, Reject]
    assert {f.reason for f in found if isinstance(f, Reject)} == {MALFORMED}
