import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from crnn.metrics import PROTOCOLS
from pipeline.diagrams import difference_sheet, error_sheet, reliability_diagram
from pipeline.evaluation import SetReport, score
from pipeline.manifest import Manifest
from pipeline.protocols import FILTERS
from pipeline.readings import READING_SCHEMA
from pipeline.schema import SAMPLE_SCHEMA
from pipeline.shards import write_shard


@pytest.fixture
def uri(tmp_path: Path) -> str:
    """Two shards of two words: black, dark, light and white pictures; the last one is broken."""
    shards = []
    for shard in range(2):
        rows = []
        for row in range(2):
            buffer = io.BytesIO()
            Image.new("L", (80, 40), 85 * (2 * shard + row)).save(buffer, "PNG")
            image = b"broken" if shard == row == 1 else buffer.getvalue()
            rows.append({"id": f"{shard}{row}", "image": image, "text": "w", "width": 80, "height": 40})
        table = pa.Table.from_pylist([row | {"source": "s"} for row in rows], schema=SAMPLE_SCHEMA)
        shards.append(write_shard(str(tmp_path), shard, table))
    Manifest(shards=tuple(shards)).write(str(tmp_path))
    return str(tmp_path)


def part(uri: str, reads: list[str], confidences: list[float]) -> SetReport:
    rows = [
        {"text": "w", "prediction": read, "confidence": sure, "shard": i // 2, "row": i % 2, "seconds": 0.0}
        for i, (read, sure) in enumerate(zip(reads, confidences, strict=True))
    ]
    return score(
        "set",
        uri,
        pa.Table.from_pylist(rows, schema=READING_SCHEMA),
        fingerprint="f",
        protocol=PROTOCOLS["alnum36"],
        chosen=FILTERS["all"],
    )


def grey_at(png: bytes, x: int, y: int) -> int:
    with Image.open(io.BytesIO(png)) as image:
        return int(np.asarray(image.convert("L"))[y, x])


def test_errors_are_shown_with_the_surest_first(uri: str) -> None:
    sheet = error_sheet(part(uri, ["x", "w", "y", "z"], [0.2, 0.9, 0.8, 0.1]))
    # Cells are 208 pixels apart; the right word and the broken picture are not there.
    assert [grey_at(sheet, 8 + 208 * i + 30, 25) for i in range(3)] == [170, 0, 255]


def test_differences_show_what_is_lost_before_what_is_gained(uri: str) -> None:
    ours = part(uri, ["w", "x", "w", "w"], [0.5] * 4)
    theirs = part(uri, ["x", "w", "w", "w"], [0.5] * 4)
    sheet = difference_sheet(ours, theirs)
    assert [grey_at(sheet, 8 + 208 * i + 30, 25) for i in range(3)] == [85, 0, 255]


def test_sheets_of_nothing_are_still_pictures(uri: str) -> None:
    perfect = part(uri, ["w"] * 4, [0.9] * 4)
    for png in (error_sheet(perfect), difference_sheet(perfect, perfect)):
        with Image.open(io.BytesIO(png)) as image:
            assert image.format == "PNG"


@pytest.mark.parametrize("reads", [["w", "w", "x", "w"], ["w"] * 4, ["x"] * 4])
def test_the_reliability_diagram_is_drawn_whatever_the_confidences(uri: str, reads: list[str]) -> None:
    for confidences in ([0.0, 0.5, 0.99, 1.0], [1.0] * 4):
        with Image.open(io.BytesIO(reliability_diagram(part(uri, reads, confidences).counted, "x"))) as image:
            assert image.width > 800
    empty = part(uri, [], []).counted
    assert reliability_diagram(empty, "nothing")


def test_a_word_among_hundreds_still_has_a_bar(uri: str) -> None:
    lone = part(uri, ["w"] * 401, [0.05, *[0.95] * 400])
    assert reliability_diagram(lone.counted, "one in 401")
