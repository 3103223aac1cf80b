"""What memory a process holds, and what of it it doesn't need any more."""

import ctypes
import os
import resource
import sys
from pathlib import Path

import pyarrow as pa

_STATM = Path("/proc/self/statm")


def release_memory() -> None:
    """Gives back what Arrow and the C library keep of the memory that is free: as much again as is in use, in
    processes that make one large thing after another."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others keep less
    if trim is not None:
        trim(0)


def resident_bytes() -> int:
    """Memory that the process holds now; the most it ever held where the system doesn't tell."""
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
