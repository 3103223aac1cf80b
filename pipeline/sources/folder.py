"""A plain folder of images whose names hold their labels."""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from pipeline.sources.files import IMAGES, Entry, FilesPart, in_parts
from pipeline.sources.samples import MALFORMED, Reject, SourceOptions
from pipeline.storage import list_objects

_NUMBERED = re.compile(r"(?P<text>.+)_\d+|\d+_(?P<other>.+)")


def folder(options: SourceOptions) -> Iterator[FilesPart]:
    """`word.jpg`, or with a number that tells equal words apart: `word_17.jpg`, `17_word.jpg`.

    Files that are no images by their names are rejects.
    """
    return in_parts(_entries(options))


def _entries(options: SourceOptions) -> Iterator[Entry | Reject]:
    for stored in list_objects(options.input):
        path = PurePosixPath(stored.key)
        if path.suffix.lower() not in IMAGES:
            detail = f"{stored.key}: not named as an image is"
            yield Reject(id=stored.key, reason=MALFORMED, detail=detail)
            continue
        match = _NUMBERED.fullmatch(path.stem)
        text = (match["text"] or match["other"]) if match else path.stem
        yield Entry(id=stored.key, text=text, image=stored.uri, where=stored.key, split=options.split)
