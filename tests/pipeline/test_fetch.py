import threading
from pathlib import Path
from typing import Any

import pytest

from pipeline import fetch as module
from pipeline.errors import BucketNotFoundError, TransientStorageError
from pipeline.fetch import FetchConfig, Gone, Wanted, fetch
from pipeline.storage import list_objects, write_atomic


def wanted(folder_uri: str) -> list[Wanted]:
    return [Wanted(uri=o.uri, etag=o.etag, size=o.size) for o in list_objects(folder_uri)]


@pytest.mark.parametrize("requests", [1, 3, 50])
def test_contents_come_in_the_order_that_was_asked_for(tmp_path: Path, requests: int) -> None:
    for number in range(20):
        (tmp_path / f"{number:02d}").write_bytes(b"%d" % number * (20 - number))
    found = list(fetch(wanted(str(tmp_path)), FetchConfig(requests=requests, bytes=50)))
    assert found == [b"%d" % number * (20 - number) for number in range(20)]


def test_what_changed_or_went_since_the_listing_is_told(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"old")
    listed = wanted(str(tmp_path))
    (tmp_path / "a").unlink()
    (tmp_path / "b").write_bytes(b"newer")
    gone, changed, kept = fetch(listed, FetchConfig())
    assert isinstance(gone, Gone)
    assert isinstance(changed, Gone)
    assert (gone.reason, changed.reason, kept) == ("deleted", "changed", b"old")


def test_the_same_is_told_from_s3(s3_bucket: str) -> None:
    from pipeline.storage import delete

    for name in ("a", "b", "c"):
        write_atomic(f"{s3_bucket}/{name}", b"old")
    listed = wanted(s3_bucket)
    delete(f"{s3_bucket}/a")
    write_atomic(f"{s3_bucket}/b", b"newer")
    found = [f if isinstance(f, bytes) else f.reason for f in fetch(listed, FetchConfig())]
    assert found == ["deleted", "changed", b"old"]


def test_a_missing_bucket_is_a_fault_and_not_a_thousand_deletions(s3_bucket: str) -> None:
    with pytest.raises(BucketNotFoundError):
        list(fetch([Wanted(uri="s3://no-such-bucket/x", etag="e", size=1)], FetchConfig()))


def test_a_fault_is_raised_and_what_is_left_is_not_asked_for(
    s3_bucket: str, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_PATIENCE_S", "0.2")
    for number in range(30):
        write_atomic(f"{s3_bucket}/{number:02d}", b"x")
    listed = wanted(s3_bucket)
    s3_server.order({"kind": "status", "path": "/00$"})
    with pytest.raises(TransientStorageError, match="/00"):
        list(fetch(listed, FetchConfig(requests=2)))
    assert not any(path.endswith("/29") for _, path, _ in s3_server.requests())


def test_no_more_bytes_are_ahead_than_allowed_and_a_large_object_comes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes = [10, 10, 10, 500, 10, 90, 10]
    held, most, lock = 0, [], threading.Lock()

    def read(uri: str, etag: str | None) -> bytes:
        nonlocal held
        with lock:
            held += int(uri)
            most.append(held)
        return b"x" * int(uri)

    monkeypatch.setattr(module, "read_bytes", read)
    objects = [Wanted(uri=str(size), etag="e", size=size) for size in sizes]
    for data in fetch(objects, FetchConfig(requests=4, bytes=100)):
        assert isinstance(data, bytes)
        with lock:
            held -= len(data)
    # The item in hand is let go only when the next is asked for, so that it counts beside those ahead.
    assert max(total for total in most if total < 500) <= 100
    assert max(most) <= 500 + 10
