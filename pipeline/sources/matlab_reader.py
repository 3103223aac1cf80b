"""Reads an IIIT5K MATLAB file in a process of its own: from standard input, as JSON to standard output.

Compiled code reads these files, and a damaged one ends its process at times, and at times doesn't. Run by
its path: the packages needn't be where a child looks.
"""

import io
import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

NAMES = ("testdata", "traindata", "testCharBound", "trainCharBound")


def read(data: bytes, loadmat: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    """What a file holds: its variables, those that IIIT5K's have and, of the one there, name and records.

    Records are `[image, text, small lexicon, medium lexicon]`; what is no string there is None.
    """
    file = loadmat(io.BytesIO(data), squeeze_me=True, struct_as_record=False)
    held = sorted(key for key in file if not key.startswith("__"))
    name = next((name for name in NAMES if name in file), None)
    records = [] if name is None else [_record(record) for record in np.atleast_1d(file[name])]
    return {"held": held, "known": NAMES, "name": name, "records": records}


def _record(record: Any) -> list[Any]:
    path = getattr(record, "ImgName", None)
    text = getattr(record, "GroundTruth", getattr(record, "chars", None))
    strings = [value if isinstance(value, str) else None for value in (path, text)]
    return [*strings, *(_words(getattr(record, kind, ())) for kind in ("smallLexi", "mediumLexi"))]


def _words(values: Any) -> list[str]:
    return [str(value) for value in np.atleast_1d(np.asarray(values, dtype=object))]


if __name__ == "__main__":
    from scipy.io import loadmat  # type: ignore[import-untyped]

    try:
        found = read(sys.stdin.buffer.read(), loadmat)
    except Exception as error:  # whatever its parser stumbles over
        found = {"error": f"{type(error).__name__}: {error}"}
    json.dump(found, sys.stdout)
