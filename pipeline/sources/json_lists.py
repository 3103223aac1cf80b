"""Annotations in JSON: lines of {"filename", "text"} (Union14M, mmocr 0.x) and mmocr 1.x's one document."""

import json
from collections.abc import Iterator
from typing import Any

from pipeline.sources.files import Entry, FilesPart, annotation, image_uri, in_parts, lines
from pipeline.sources.samples import MALFORMED, Reject, SourceError, SourceOptions


def json_lines(options: SourceOptions) -> Iterator[FilesPart]:
    """An object a line: `filename` (or `img_path`, `image_path`, `image`) and `text` (or `label`)."""
    return in_parts(_lines(options))


def mmocr_json(options: SourceOptions) -> Iterator[FilesPart]:
    """mmocr 1.x: {"metainfo", "data_list": [{"img_path", "instances": [{"text"}]}]}.

    Raises:
        SourceError: Not such a document.
    """
    try:
        document = json.loads(annotation(options))
        items = document["data_list"]
        if not isinstance(items, list):
            raise TypeError("data_list is no list")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SourceError(
            f"{options.input} isn't a data set of mmocr 1.x ({type(error).__name__}: {error}); one is a JSON "
            'document with "data_list". For one object a line use the format json-lines.'
        ) from error
    return in_parts(_items(options, items))


def _lines(options: SourceOptions) -> Iterator[Entry | Reject]:
    for where, line in lines(options):
        if isinstance(line, Reject):
            yield line
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield _malformed(where, f"no JSON ({error})")
            continue
        path = _first(record, "filename", "img_path", "image_path", "image")
        text = _first(record, "text", "label")
        if path is None or text is None:
            yield _malformed(where, f'{line[:200]!r} has no "filename" and "text"')
            continue
        yield _entry(options, where, path, text)


def _items(options: SourceOptions, items: list[Any]) -> Iterator[Entry | Reject]:
    name = options.input.rsplit("/", 1)[-1]
    for number, item in enumerate(items, start=1):
        where = f"{name}: item {number}"
        path = _first(item, "img_path")
        instances = item.get("instances") if isinstance(item, dict) else None
        texts = [_first(instance, "text") for instance in (instances if isinstance(instances, list) else ())]
        if path is None or len(texts) != 1 or texts[0] is None:
            yield _malformed(where, f'{str(item)[:200]!r} has no "img_path" and one instance with "text"')
            continue
        yield _entry(options, where, path, texts[0])


def _entry(options: SourceOptions, where: str, path: str, text: str) -> Entry:
    number = where.replace(" ", ":").rpartition(":")[2]
    image = image_uri(options, path)
    return Entry(id=f"{path}#{number}", text=text, image=image, where=where, split=options.split)


def _first(record: Any, *names: str) -> str | None:
    found = (record.get(name) for name in names) if isinstance(record, dict) else ()
    return next((value for value in found if isinstance(value, str)), None)


def _malformed(where: str, detail: str) -> Reject:
    return Reject(id=where, reason=MALFORMED, detail=f"{where}: {detail}")
