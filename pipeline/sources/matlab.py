"""IIIT5K's MATLAB files."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.sources.files import Entry, FilesPart, annotation, image_uri, in_parts
from pipeline.sources.samples import MALFORMED, Reject, SourceError, SourceOptions

LEXICONS: dict[str, list[int | None]] = {"50": [0, 50], "1k": [50, None]}
"""How the lexicon of an IIIT5K sample is made up: the small one's words, then the medium one's."""
READER = Path(__file__).with_name("matlab_reader.py")
"""Not imported: it needs scipy, which takes its time."""


def iiit5k(options: SourceOptions) -> Iterator[FilesPart]:
    """testdata and traindata with both lexicons, or the character boxes of either, whose words have none.

    Raises:
        SourceError: Not such a file.
    """
    found = _read(options)
    if found["name"] is None:
        known = ", ".join(found["known"])
        raise SourceError(f"{options.input} holds {found['held']}; IIIT5K's files hold one of {known}.")
    split = options.split or ("test" if found["name"].startswith("test") else "train")
    return in_parts(_entries(options, found["records"], split))


def _read(options: SourceOptions) -> dict[str, Any]:
    """What `matlab_reader` prints of a file, whose parser a damaged file may bring down."""
    reader = [sys.executable, "-P", str(READER)]
    ended = subprocess.run(reader, input=annotation(options), capture_output=True, check=False)
    if ended.returncode < 0:
        died = signal.strsignal(-ended.returncode)
        raise SourceError(
            f"{options.input}: its parser died ({died}). A damaged file does that: fetch it again. So does "
            "too little memory, and whoever ends processes."
        )
    if ended.returncode:
        why = ended.stderr.decode(errors="replace").strip()
        raise SourceError(f"{options.input}: its parser ended with {ended.returncode}: {why}")
    found: dict[str, Any] = json.loads(ended.stdout)
    if "error" in found:
        raise SourceError(f"{options.input} is no MATLAB file that can be read ({found['error']}).")
    return found


def _entries(options: SourceOptions, records: list[list[Any]], split: str) -> Iterator[Entry | Reject]:
    name = options.input.rsplit("/", 1)[-1]
    for number, (path, text, small, medium) in enumerate(records, start=1):
        where = f"{name}: record {number}"
        if path is None or text is None:
            detail = f"{where}: no ImgName, or no GroundTruth and no chars"
            yield Reject(id=f"{name}#{number}", reason=MALFORMED, detail=detail)
            continue
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
