"""What only a disk can get wrong."""

import os
import resource
import shutil
import signal
from pathlib import Path

import pytest

from pipeline.errors import ObjectNotFoundError, StorageError
from pipeline.stores.local import LocalStore, local_path

store = LocalStore()


def keys(folder: Path) -> list[str]:
    return [found.key for found in store.list(str(folder))]


def test_a_missing_folder_is_an_error_and_an_empty_one_is_empty(tmp_path: Path) -> None:
    assert keys(tmp_path) == []
    with pytest.raises(ObjectNotFoundError, match="missing"):
        keys(tmp_path / "missing")


def test_a_file_is_no_folder_to_list(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    with pytest.raises(StorageError, match="is a file"):
        keys(tmp_path / "x")


def test_what_a_dead_writer_left_is_not_listed_but_hidden_files_are(tmp_path: Path) -> None:
    (tmp_path / ".0123456789abcdef.unfinished").write_bytes(b"half")
    (tmp_path / ".hidden").write_bytes(b"whole")
    assert keys(tmp_path) == [".hidden"]


def test_writing_leaves_nothing_beside_the_object(tmp_path: Path) -> None:
    store.write(str(tmp_path / "a"), b"1")
    store.create(str(tmp_path / "b"), b"1")
    store.create(str(tmp_path / "b"), b"2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_links_are_followed_and_a_circle_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert keys(tmp_path) == ["link/x", "real/x"]
    (tmp_path / "real" / "circle").symlink_to(tmp_path)
    with pytest.raises(StorageError, match="never end"):
        keys(tmp_path)


def test_what_is_removed_during_a_listing_is_left_out(tmp_path: Path) -> None:
    for name in ("a", "b", "c/x"):
        store.write(str(tmp_path / name), b"")
    found = store.list(str(tmp_path))
    assert next(found).key == "a"
    (tmp_path / "b").unlink()
    shutil.rmtree(tmp_path / "c")
    assert list(found) == []


def test_what_is_no_file_is_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    assert keys(tmp_path) == []
    assert "pipe" in caplog.text
    assert "dangling" in caplog.text


def test_a_name_that_is_not_utf8_is_an_error(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.png")).write_bytes(b"")
    with pytest.raises(StorageError, match="UTF-8"):
        keys(tmp_path)


def test_a_disk_that_takes_no_more_leaves_the_old_object_whole(tmp_path: Path) -> None:
    uri = str(tmp_path / "x")
    store.write(uri, b"old")
    before, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limit[1]))
    try:
        with pytest.raises(StorageError, match="File too large"):
            store.write(uri, b"new" * 1_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert store.read(uri) == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_file_uris_are_decoded_and_relative_paths_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_path("file:///a%20b") == Path("/a b")
    assert local_path("x/../y%20z") == tmp_path / "y%20z"
