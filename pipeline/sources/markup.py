"""Annotations in XML: SVT and IC03, of ready crops or of words in scenes."""

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from math import isfinite

from pipeline.sources.files import Entry, FilesPart, annotation, image_uri, in_parts
from pipeline.sources.samples import MALFORMED, Box, Reject, SourceError, SourceOptions


def svt(options: SourceOptions) -> Iterator[FilesPart]:
    """SVT: scenes with tagged rectangles and a lexicon that all words of a scene share."""
    return in_parts(_rectangles(options, _root(options)))


def ic03_scenes(options: SourceOptions) -> Iterator[FilesPart]:
    """IC03 words.xml: scenes with rectangles in fractions of pixels."""
    return in_parts(_rectangles(options, _root(options)))


def ic03_words(options: SourceOptions) -> Iterator[FilesPart]:
    """IC03 word.xml: `<image file="word/1/1.jpg" tag="311"/>`."""
    return in_parts(_words(options, _root(options)))


def _root(options: SourceOptions) -> ET.Element:
    try:
        return ET.fromstring(annotation(options))
    except (ET.ParseError, LookupError, ValueError) as error:
        raise SourceError(f"{options.input} is broken XML ({error}); fetch it again.") from error


def _words(options: SourceOptions, root: ET.Element) -> Iterator[Entry | Reject]:
    name = options.input.rsplit("/", 1)[-1]
    for number, image in enumerate(root.iter("image"), start=1):
        where = f"{name}: image {number}"
        path, text = image.get("file"), image.get("tag")
        if path is None or text is None:
            yield Reject(id=f"{name}#{number}", reason=MALFORMED, detail=f"{where}: no file or no tag")
            continue
        yield Entry(
            id=f"{path}#{number}", text=text, image=image_uri(options, path), where=where, split=options.split
        )


def _rectangles(options: SourceOptions, root: ET.Element) -> Iterator[Entry | Reject]:
    name = options.input.rsplit("/", 1)[-1]
    crop = 0  # words of all scenes: a scene may come twice
    for image in root.iter("image"):
        path = (image.findtext("imageName") or "").strip()
        lexicon = tuple(word for word in (image.findtext("lex") or "").split(",") if word) or None
        for number, rectangle in enumerate(image.iter("taggedRectangle"), start=1):
            crop += 1
            identity, where = f"{path}#{crop}", f"{name}: {path}, rectangle {number}"
            text, box = rectangle.findtext("tag"), _box(rectangle)
            if not path or text is None or box is None:
                detail = f"{where}: no image name, no tag, or no rectangle of numbers"
                yield Reject(id=identity, reason=MALFORMED, detail=detail, text=text)
                continue
            ready = options.crops.format(crop - 1) if options.crops else None
            yield Entry(
                id=identity,
                text=text,
                image=image_uri(options, ready or path),
                where=where,
                box=None if ready else box,
                split=options.split,
                lexicon=lexicon,
            )


def _box(rectangle: ET.Element) -> Box | None:
    try:
        left, top, width, height = (float(rectangle.attrib[k]) for k in ("x", "y", "width", "height"))
    except (KeyError, ValueError):
        return None
    box = left, top, width, height
    edges = left, top, left + width, top + height
    return box if all(map(isfinite, (*box, *edges))) else None
