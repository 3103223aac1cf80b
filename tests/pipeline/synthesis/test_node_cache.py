import hashlib
import multiprocessing
from pathlib import Path

import pytest

from pipeline.errors import StorageError
from pipeline.storage import join, write_atomic
from pipeline.synthesis.node_cache import cache_folder, node_folder

DATA = bytes(range(256)) * 4_000
FILES = {"data.bin": {"sha256": hashlib.sha256(DATA).hexdigest()}}


def test_a_local_folder_is_itself(tmp_path: Path) -> None:
    assert node_folder(str(tmp_path), "f", FILES) == tmp_path


def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "crnn-pipeline"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "crnn-pipeline"


def test_processes_that_want_the_same_copy_at_once_make_one(
    s3_bucket: str, s3_server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    write_atomic(join(s3_bucket, "data.bin"), DATA)
    s3_server.order()
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        folders = pool.starmap(node_folder, [(s3_bucket, "print", FILES)] * 6)
    assert len(set(folders)) == 1
    assert (folders[0] / "data.bin").read_bytes() == DATA
    read = [path for method, path, _ in s3_server.requests() if method == "GET" and path.endswith("data.bin")]
    assert len(read) == 1
    assert not list(folders[0].parent.glob(".unfinished-*"))


def test_a_cache_that_can_not_be_written_is_told(
    s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(StorageError, match="XDG_CACHE_HOME"):
        node_folder(s3_bucket, "print", FILES)
