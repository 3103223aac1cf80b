import io
import random
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ObjectChangedError, ObjectNotFoundError
from pipeline.inputs.range_file import FIRST, MOST, RangeFile
from pipeline.storage import delete, stat, write_atomic

DATA = random.Random(0).randbytes(3_000_000)


@pytest.fixture(params=["disk", "s3"])
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    place = str(tmp_path) if request.param == "disk" else request.getfixturevalue("s3_bucket")
    write_atomic(f"{place}/file", DATA)
    return f"{place}/file"


def test_it_reads_as_a_file_in_memory_does(uri: str) -> None:
    file, oracle, chance = RangeFile(uri, stat(uri).etag), io.BytesIO(DATA), random.Random(1)
    for _ in range(200):
        whence = chance.choice([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END])
        low = {io.SEEK_SET: 0, io.SEEK_CUR: -oracle.tell(), io.SEEK_END: -len(DATA)}[whence]
        offset = chance.randint(low, low + len(DATA) + 5)
        assert file.seek(offset, whence) == oracle.seek(offset, whence) == file.tell()
        size = chance.choice([0, 1, 700, 100_000, 2_000_000, -1])
        assert file.read(size) == oracle.read(size)
    with pytest.raises(OSError, match="before its first byte"):
        file.seek(-1)


def test_a_file_read_through_takes_few_requests_and_a_jump_little(s3_server: Any, s3_bucket: str) -> None:
    uri = f"{s3_bucket}/file"
    write_atomic(uri, DATA * 4)
    etag = stat(uri).etag
    s3_server.order()
    file = RangeFile(uri, etag, 4 * len(DATA))
    while file.read(1_000):
        pass
    assert len(s3_server.requests()) <= 4 * len(DATA) / MOST + 9
    s3_server.order()
    file = RangeFile(uri, etag, 4 * len(DATA))
    for place in (0, 5_000_000, 10_000_000):
        file.seek(place)
        assert file.read(512) == (DATA * 4)[place : place + 512]
    assert len(s3_server.requests()) == 3
    assert len(file._block) == FIRST


def test_another_version_or_none_is_told_at_whatever_moment(uri: str) -> None:
    etag = stat(uri).etag
    opened = RangeFile(uri, etag)
    write_atomic(uri, b"other")
    with pytest.raises(ObjectChangedError):
        opened.read(10)
    with pytest.raises(ObjectChangedError):
        RangeFile(uri, etag)
    delete(uri)
    with pytest.raises(ObjectNotFoundError):
        opened.read(10)
    with pytest.raises(ObjectNotFoundError):
        RangeFile(uri, etag)
