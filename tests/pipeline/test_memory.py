"""Free memory is given back to the machine."""

import ctypes
from pathlib import Path

import pytest

from pipeline.memory import release_memory

ROLLUP = Path("/proc/self/smaps_rollup")


def held() -> int:
    """Bytes of this process's own memory that the machine must keep."""
    (line,) = (line for line in ROLLUP.read_text().splitlines() if line.startswith("Anonymous:"))
    return 1024 * int(line.split()[1])


@pytest.mark.skipif(
    not (ROLLUP.is_file() and hasattr(ctypes.CDLL(None), "malloc_trim")), reason="needs Linux with glibc"
)
def test_holes_below_what_is_in_use_are_given_back() -> None:
    pieces = [bytearray(b"x" * 50_000) for _ in range(2_000)]
    last = pieces[-1]
    del pieces
    before = held()
    release_memory()
    assert held() < before - 50_000_000
    assert len(last) == 50_000
