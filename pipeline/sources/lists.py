"""Annotations of one line a word: ICDAR, PaddleOCR, MJSynth, path and text, tables."""

import csv
import json
import re
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from pipeline.sources.files import Entry, FilesPart, image_uri, in_parts, lines
from pipeline.sources.samples import MALFORMED, UNREADABLE_LABEL, Reject, SourceOptions

_ICDAR = re.compile(r'(?P<path>[^,"]+),\s*"(?P<text>.*)"\s*')
_MJSYNTH = re.compile(r"(?P<path>.*?(?:^|/)\d+_(?P<text>.+)_\d+\.\w+)(?:\s+\d+)?\s*")
_ESCAPE = re.compile(r'\\(["\\])')

Parsed = list[tuple[str, str]]
"""(path, text) of each image that a line names."""


def icdar(options: SourceOptions) -> Iterator[FilesPart]:
    """IC13 and IC15 words: `word_1.png, "text"`, with commas, spaces and \\" in it; ### is unreadable."""

    def parse(line: str) -> Parsed | None:
        match = _ICDAR.fullmatch(line)
        return [(match["path"].strip(), _ESCAPE.sub(r"\1", match["text"]))] if match else None

    return in_parts(_entries(options, parse, unreadable="###"))


def paddle(options: SourceOptions) -> Iterator[FilesPart]:
    """PaddleOCR: `path<TAB>text`, or a JSON list of paths that share a text."""

    def parse(line: str) -> Parsed | None:
        path, tab, text = line.partition("\t")
        if not tab:
            return None
        if path.startswith("["):
            try:
                paths = json.loads(path)
            except (ValueError, RecursionError):
                return None
            sound = isinstance(paths, list) and paths and all(isinstance(p, str) for p in paths)
            return [(p, text) for p in paths] if sound else None
        return [(path, text)]

    return in_parts(_entries(options, parse, unreadable="###"))


def mjsynth(options: SourceOptions) -> Iterator[FilesPart]:
    """MJSynth: `./2425/1/115_Lube_45484.jpg 45484`; the label with its case is the middle of the name."""

    def parse(line: str) -> Parsed | None:
        match = _MJSYNTH.fullmatch(line)
        return [(match["path"], match["text"])] if match else None

    name = PurePosixPath(options.input).stem.removeprefix("annotation").lstrip("_")
    split = options.split or (name if name in ("train", "val", "test") else None)
    return in_parts(_entries(options, parse, split=split))


def spaced(options: SourceOptions) -> Iterator[FilesPart]:
    """`path text`, parted by the first space (mmocr 0.x and many others)."""

    def parse(line: str) -> Parsed | None:
        path, space, text = line.partition(" ")
        return [(path, text)] if space else None

    return in_parts(_entries(options, parse))


def table(options: SourceOptions) -> Iterator[FilesPart]:
    """A TSV or CSV of path and text; a first row that names its columns so is a heading, maybe with a split.

    Quotes of a CSV hold commas and quotes, not line breaks: no word has them, and a quote that isn't closed
    spoils its own line only.
    """
    return in_parts(_table_entries(options))


def _table_entries(options: SourceOptions) -> Iterator[Entry | Reject]:
    columns, width = {"path": 0, "text": 1}, 2
    is_csv = options.input.lower().endswith(".csv")
    for index, (where, line) in enumerate(lines(options)):
        row = line if isinstance(line, Reject) else _cells(where, line, is_csv)
        if isinstance(row, Reject):
            yield row
            continue
        if index == 0 and (heading := _heading(row)):
            columns, width = heading, len(row)
            continue
        if not max(columns.values()) < len(row) <= width:
            detail = f"{where}: {row!r} has {len(row)} columns; path and text are looked for in {width}"
            yield Reject(id=where, reason=MALFORMED, detail=detail)
            continue
        path = row[columns["path"]]
        yield Entry(
            id=f"{path}#{where.rpartition(':')[2]}",
            text=row[columns["text"]],
            image=image_uri(options, path),
            where=where,
            split=row[columns["split"]] if "split" in columns else options.split,
        )


def _cells(where: str, line: str, is_csv: bool) -> list[str] | Reject:
    if not is_csv:
        return line.split("\t")  # quotes in a TSV are characters like any other
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        return Reject(
            id=where, reason=MALFORMED, detail=f"{where}: {line[:200]!r} is no row of a CSV ({error})"
        )


_PATH_NAMES = ("path", "image", "file", "filename", "file_name", "img_path", "imgname")
_TEXT_NAMES = ("text", "label", "words", "word", "transcription", "groundtruth")


def _heading(row: list[str]) -> dict[str, int] | None:
    lowered = [cell.strip().lower() for cell in row]
    paths = [i for i, cell in enumerate(lowered) if cell in _PATH_NAMES]
    texts = [i for i, cell in enumerate(lowered) if cell in _TEXT_NAMES]
    if not paths or not texts:
        return None
    split = {"split": lowered.index("split")} if "split" in lowered else {}
    return {"path": paths[0], "text": texts[0], **split}


def _entries(
    options: SourceOptions,
    parse: Callable[[str], Parsed | None],
    *,
    unreadable: str | None = None,
    split: str | None = None,
) -> Iterator[Entry | Reject]:
    """Entries of an annotation's lines; a line that `parse` doesn't know is a Reject with its number."""
    for where, line in lines(options):
        if isinstance(line, Reject):
            yield line
            continue
        parsed = parse(line)
        if parsed is None:
            yield Reject(id=where, reason=MALFORMED, detail=f"{where}: {line[:200]!r} isn't of this format")
            continue
        number = where.rpartition(":")[2]
        for place, (path, text) in enumerate(parsed):
            # A list of paths may name one twice.
            again = sum(path == earlier for earlier, _ in parsed[:place])
            identity = f"{path}#{number}" + (f".{again + 1}" if again else "")
            if text == unreadable:
                detail = f"{where}: the annotators could not read it"
                yield Reject(id=identity, reason=UNREADABLE_LABEL, detail=detail, text=text)
            else:
                yield Entry(
                    id=identity,
                    text=text,
                    image=image_uri(options, path),
                    where=where,
                    split=split or options.split,
                )
