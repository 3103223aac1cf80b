"""What only a network store can get wrong: passing and lasting faults, lost answers, odd listings."""

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.errors import ObjectNotFoundError, StorageError, TransientStorageError
from pipeline.stores.s3 import RetryConfig, S3Store


@pytest.fixture
def store(s3_bucket: str) -> S3Store:
    """A store with little patience."""
    return S3Store(RetryConfig(patience_s=0.5, first_delay_s=0.01, max_delay_s=0.05))


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "code": "SlowDown", "status": 503},
        {"kind": "status", "code": "InternalError", "status": 500},
        {"kind": "status", "code": "ExpiredToken", "status": 400, "times": 1},
        {"kind": "reset_before"},
        {"kind": "reset_after"},
        {"kind": "truncate"},
    ],
    ids=lambda fault: fault.get("code", fault["kind"]),
)
def test_a_fault_that_passes_is_waited_out(
    store: S3Store, s3_bucket: str, s3_server: Any, fault: dict[str, Any]
) -> None:
    uri = f"{s3_bucket}/x"
    store.write(uri, b"data" * 1_000)
    s3_server.order({"times": 3, "method": "GET|PUT|HEAD"} | fault)
    assert store.read(uri) == b"data" * 1_000
    s3_server.order({"times": 3, "method": "PUT"} | fault)
    store.write(uri, b"more")
    s3_server.order({"times": 3, "method": "GET"} | fault)
    assert [found.key for found in store.list(s3_bucket)] == ["x"]
    s3_server.order({"times": 3, "method": "HEAD"} | fault)
    assert store.exists(uri)
    assert store.stat(uri).size == 4
    s3_server.order()
    assert store.read(uri) == b"more"


def test_a_store_that_refuses_nine_of_ten_requests_is_outlasted(
    store: S3Store, s3_bucket: str, s3_server: Any
) -> None:
    patient = S3Store(RetryConfig(patience_s=60, first_delay_s=0.001, max_delay_s=0.01))
    s3_server.order({"kind": "status", "probability": 0.9})
    for number in range(10):
        patient.write(f"{s3_bucket}/{number}", b"x")
    assert len(list(patient.list(s3_bucket))) == 10


@pytest.mark.parametrize("action", ["read", "write", "create", "exists", "list", "delete"])
def test_a_fault_that_stays_is_named_and_is_no_result(
    store: S3Store, s3_bucket: str, s3_server: Any, action: str
) -> None:
    uri = f"{s3_bucket}/x"
    s3_server.order({"kind": "status", "code": "SlowDown", "status": 503})
    with pytest.raises(TransientStorageError, match=rf"{s3_bucket}.*(SlowDown|503)"):
        act(store, action, uri)


@pytest.mark.parametrize("action", ["read", "write", "create", "exists", "list", "delete"])
def test_a_refusal_is_told_at_once_and_is_never_an_absence(
    store: S3Store, s3_bucket: str, s3_server: Any, action: str
) -> None:
    s3_server.order({"kind": "status", "code": "AccessDenied", "status": 403})
    with pytest.raises(StorageError, match=r"AccessDenied|403") as caught:
        act(store, action, f"{s3_bucket}/x")
    assert not isinstance(caught.value, ObjectNotFoundError | TransientStorageError)
    assert len(s3_server.requests()) <= 2  # botocore asks a refused HEAD again, in case the region is wrong


@pytest.mark.parametrize("action", ["read", "write", "create", "exists", "list", "delete"])
def test_a_missing_bucket_is_never_an_empty_one(store: S3Store, s3_bucket: str, action: str) -> None:
    with pytest.raises(ObjectNotFoundError, match="no-such-bucket"):
        act(store, action, "s3://no-such-bucket/x")


def test_a_uri_without_a_bucket_is_refused(store: S3Store) -> None:
    with pytest.raises(StorageError, match="no bucket"):
        store.read("s3:///x")


@pytest.mark.parametrize("kind", ["reset_after", "reset_before"])
def test_a_creator_whose_answer_got_lost_knows_that_it_won(
    store: S3Store, s3_bucket: str, s3_server: Any, kind: str
) -> None:
    s3_server.order({"kind": kind, "method": "PUT", "times": 2})
    assert store.create(f"{s3_bucket}/x", b"mine")
    s3_server.order({"kind": kind, "method": "PUT", "times": 2})
    assert not store.create(f"{s3_bucket}/x", b"mine")


def test_a_listing_is_fetched_page_by_page_as_it_is_used(
    store: S3Store, s3_bucket: str, s3_server: Any
) -> None:
    for number in range(1_001):
        store.write(f"{s3_bucket}/{number:04d}", b"")
    s3_server.order()
    found = store.list(s3_bucket)
    first = [next(found) for _ in range(1_000)]
    assert len(s3_server.requests()) == 1
    assert [f.key for f in first] + [f.key for f in found] == [f"{n:04d}" for n in range(1_001)]
    assert len(s3_server.requests()) == 2


@pytest.mark.parametrize("fault", ["ok_error", "truncate"])
def test_a_broken_page_is_no_end_of_a_listing(
    store: S3Store, s3_bucket: str, s3_server: Any, fault: str
) -> None:
    store.write(f"{s3_bucket}/x", b"")
    s3_server.order({"kind": fault, "method": "GET"})
    with pytest.raises(StorageError):
        list(store.list(s3_bucket))


def test_empty_folder_markers_are_left_out(store: S3Store, s3_bucket: str) -> None:
    for key in ("f/", "f/x", "f/inner/"):
        store.write(f"{s3_bucket}/{key}", b"")
    store.write(f"{s3_bucket}/f/full/", b"no marker")
    assert [found.key for found in store.list(f"{s3_bucket}/f")] == ["full/", "x"]


def act(store: S3Store, action: str, uri: str) -> None:
    folder = uri.rpartition("/")[0]
    actions: dict[str, Callable[[], object]] = {
        "read": lambda: store.read(uri),
        "write": lambda: store.write(uri, b"x"),
        "create": lambda: store.create(uri, b"x"),
        "exists": lambda: store.exists(uri),
        "list": lambda: list(store.list(folder)),
        "delete": lambda: store.delete(uri),
    }
    actions[action]()
