"""Grouping line images into batches of one canonical width each."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from crnn.preprocess import GreyImage

Indices = npt.NDArray[np.int64]


def plan_packs(widths: Sequence[int] | npt.NDArray[np.integer], max_columns: int) -> list[Indices]:
    """Cuts items into packs of equal width, each of at most `max_columns` pixel columns in all.

    Packs of one width are as equal in size as they can be, so that no step runs on a leftover. Order within
    a width is kept, so that the caller's shuffle decides who meets whom.

    Args:
        widths: Canonical width of each item in pixels.
        max_columns: Budget of a pack, Σ width; an item wider than it gets a pack of its own.

    Returns:
        Index arrays, narrow widths first; together a permutation of all indices.
    """
    array = np.asarray(widths, np.int64)
    packs: list[Indices] = []
    for width in np.unique(array):
        members = np.flatnonzero(array == width)
        count = -(-len(members) // max(1, max_columns // int(width)))
        packs.extend(np.array_split(members, count))
    return packs


def stack(lines: Iterable[GreyImage]) -> npt.NDArray[np.uint8]:
    """Line images of one canonical width as uint8 [N, 1, H, W].

    Raises:
        ValueError: From numpy, where shapes differ.
    """
    return np.stack(list(lines))[:, None]
