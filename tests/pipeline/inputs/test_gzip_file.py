"""A gzip file read and sought in as what is packed in it, with Python's own as the oracle."""

import gzip
import io
import random
import zlib
from pathlib import Path

import pytest

from pipeline.inputs.gzip_file import GzipFile
from pipeline.inputs.range_file import RangeFile
from pipeline.storage import stat, write_atomic

CHANCE = random.Random(0)
DATA = CHANCE.randbytes(300_000) + b"a" * 900_000 + CHANCE.randbytes(200_000)


def opened(folder: Path, data: bytes) -> GzipFile:
    uri = str(folder / "file.gz")
    write_atomic(uri, data)
    return GzipFile(RangeFile(uri, stat(uri).etag))


@pytest.mark.parametrize("cuts", [[], [0], [700_000], [1, 400_000, 1_399_999]])
def test_it_reads_as_a_file_in_memory_does_however_many_members_it_has(
    tmp_path: Path, cuts: list[int]
) -> None:
    ends = zip([0, *cuts], [*cuts, len(DATA)], strict=True)
    packed = b"".join(gzip.compress(DATA[start:end]) for start, end in ends)
    assert gzip.decompress(packed) == DATA
    file, oracle, chance = opened(tmp_path, packed + bytes(1_000)), io.BytesIO(DATA), random.Random(1)
    for _ in range(40):
        offset = chance.randint(0, len(DATA))
        assert file.seek(offset) == oracle.seek(offset) == file.tell()
        size = chance.choice([0, 1, 700, 100_000, 600_000, -1])
        assert file.read(size) == oracle.read(size)
        assert file.tell() == oracle.tell()


def test_beyond_its_end_there_is_nothing_and_before_its_beginning_an_error(tmp_path: Path) -> None:
    file = opened(tmp_path, gzip.compress(b"short"))
    assert file.seek(100) == 5
    assert file.read() == b""
    with pytest.raises(OSError, match="only places from its beginning"):
        file.seek(-1)
    with pytest.raises(OSError, match="only places from its beginning"):
        file.seek(0, io.SEEK_END)


def test_damage_and_a_lost_end_are_errors(tmp_path: Path) -> None:
    packed = gzip.compress(DATA)
    with pytest.raises(EOFError, match="too early"):
        opened(tmp_path, packed[:-9]).read()
    with pytest.raises(zlib.error):
        opened(tmp_path, packed[:-5] + bytes([packed[-5] ^ 1]) + packed[-4:]).read()
