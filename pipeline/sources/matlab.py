"""IIIT5K's MATLAB files."""

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.sources.files import Entry, FilesPart, annotation, image_uri, in_parts
from pipeline.sources.samples import MALFORMED, Reject, SourceError, SourceOptions

LEXICONS: dict[str, list[int | None]] = {"50": [0, 50], "1k": [50, None]}
"""How the lexicon of an IIIT5K sample is made up: the small one's words, then the medium one's."""

_TRIAL = """
import io, sys
from scipy.io import loadmat
loadmat(io.BytesIO(sys.stdin.buffer.read()), squeeze_me=True, struct_as_record=False)
"""
"""Compiled code, which a damaged file can bring down; what it raises it raises here, too."""
_NAMES = ("testdata", "traindata", "testCharBound", "trainCharBound")


def iiit5k(options: SourceOptions) -> Iterator[FilesPart]:
    """testdata and traindata with both lexicons, or the character boxes of either, whose words have none.

    Raises:
        SourceError: Not such a file.
    """
    from scipy.io import loadmat  # type: ignore[import-untyped]

    data = annotation(options)
    trial = [sys.executable, "-c", _TRIAL]
    code = subprocess.run(trial, input=data, stderr=subprocess.DEVNULL, check=False).returncode
    if code < 0:
        died = signal.Signals(-code).name
        raise SourceError(f"{options.input} is damaged: its parser dies of it ({died}). Fetch it again.")
    try:
        file = loadmat(io.BytesIO(data), squeeze_me=True, struct_as_record=False)
    except Exception as error:  # whatever its parser stumbles over
        raise SourceError(f"{options.input} is no MATLAB file that can be read ({error}).") from error
    name = next((name for name in _NAMES if name in file), None)
    if name is None:
        found = sorted(key for key in file if not key.startswith("__"))
        raise SourceError(f"{options.input} holds {found}; IIIT5K's files hold one of {', '.join(_NAMES)}.")
    split = options.split or ("test" if name.startswith("test") else "train")
    return in_parts(_entries(options, np.atleast_1d(file[name]), split))


def _entries(options: SourceOptions, records: Any, split: str) -> Iterator[Entry | Reject]:
    name = options.input.rsplit("/", 1)[-1]
    for number, record in enumerate(records, start=1):
        where = f"{name}: record {number}"
        path = getattr(record, "ImgName", None)
        text = getattr(record, "GroundTruth", getattr(record, "chars", None))
        if not isinstance(path, str) or not isinstance(text, str):
            detail = f"{where}: no ImgName, or no GroundTruth and no chars"
            yield Reject(id=f"{name}#{number}", reason=MALFORMED, detail=detail)
            continue
        small, medium = (_words(getattr(record, kind, ())) for kind in ("smallLexi", "mediumLexi"))
        if small and len(small) != LEXICONS["50"][1]:
            detail = f"{where}: the small lexicon holds {len(small)} words, not 50"
            yield Reject(id=f"{path}#{number}", reason=MALFORMED, detail=detail, text=text)
            continue
        yield Entry(
            id=f"{path}#{number}",
            text=text,
            image=image_uri(options, path),
            where=where,
            split=split,
            lexicon=(*small, *medium) or None,
        )


def _words(values: Any) -> tuple[str, ...]:
    return tuple(str(value) for value in np.atleast_1d(np.asarray(values, dtype=object)))
