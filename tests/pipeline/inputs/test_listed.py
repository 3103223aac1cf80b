"""What an input holds comes in the order of its listing, whichever archive takes longest to look through."""

import io
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import ObjectNotFoundError, StorageError
from pipeline.inputs.listed import in_order, is_complete, items
from pipeline.stores import StoredObject


def tar(members: list[str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name in members:
            entry = tarfile.TarInfo(name)
            entry.size = 3
            file.addfile(entry, io.BytesIO(b"abc"))
    return buffer.getvalue()


def test_members_and_objects_come_in_the_order_of_the_listing(tmp_path: Path) -> None:
    wanted = []
    for number in range(30):
        if number % 3:
            (tmp_path / f"{number:02d}.png").write_bytes(b"x")
            wanted.append(f"{number:02d}.png")
        else:  # the first are the largest, so that the later ones are done before them
            names = [f"{i:04d}.png" for i in range(400 - 13 * number)]
            (tmp_path / f"{number:02d}.tar").write_bytes(tar(names))
            wanted += [f"{number:02d}.tar/{name}" for name in names]
    assert [item.key for item in items(str(tmp_path), None)] == wanted
    index = str(tmp_path.parent / f"{tmp_path.name}-index")
    for _ in range(2):  # the second time from what was noted
        assert [item.key for item in items(str(tmp_path), index)] == wanted


def test_a_note_that_is_damaged_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.tar").write_bytes(tar(["1.png"]))
    list(items(str(tmp_path / "in"), str(tmp_path / "index")))
    (note,) = (tmp_path / "index").iterdir()
    note.write_bytes(note.read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"is damaged .* Remove it and run again"):
        list(items(str(tmp_path / "in"), str(tmp_path / "index")))


def test_a_folder_that_is_not_there_is_not_empty(tmp_path: Path) -> None:
    with pytest.raises(ObjectNotFoundError):
        list(items(str(tmp_path / "none"), None))


def test_a_listing_that_repeats_or_goes_back_is_refused() -> None:
    one = StoredObject(uri="s3://b/b", key="b", size=1, etag="e", modified=datetime(2026, 1, 1, tzinfo=UTC))
    assert list(in_order([one, replace(one, key="c")])) == [one, replace(one, key="c")]
    for other in ("b", "a"):
        with pytest.raises(StorageError, match="out of order"):
            list(in_order([one, replace(one, key=other)]))


@pytest.mark.parametrize(
    ("source", "complete"), [("s3://b/in/", True), ("in.csv", False), ("in.parquet", False)]
)
def test_only_a_folder_tells_what_is_gone(source: str, complete: bool) -> None:
    assert is_complete(source) == complete
