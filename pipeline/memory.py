"""Memory that a process doesn't need any more."""

import ctypes

import pyarrow as pa


def release_memory() -> None:
    """Gives back what Arrow and the C library keep of the memory that is free: as much again as is in use, in
    processes that make one large thing after another."""
    pa.default_memory_pool().release_unused()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's; others keep less
    if trim is not None:
        trim(0)
