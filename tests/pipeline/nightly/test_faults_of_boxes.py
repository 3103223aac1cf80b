"""Nights over boxes on pages that are killed and starved: each page is fetched once, each box has its row."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from pipeline.storage import write_atomic
from tests.pipeline.nightly.night_oracle import MUTATING, Nights, is_exact, kill_points, published

PAGES, BOXES = 4, 6


@pytest.fixture
def nights(s3_server: Any) -> Iterator[Nights]:
    nights = Nights(s3_server.environment())
    yield nights
    nights.close()


@pytest.fixture
def place(s3_bucket: str, s3_server: Any, untrained_bundle: Path) -> Iterator[dict[str, Any]]:
    """The config of a night over a table of boxes: upright, turned, beside the page, on what is no page."""
    lines = ["uri,box,polygon"]
    for number in range(PAGES):
        page, buffer = Image.new("L", (400, 300), 230), io.BytesIO()
        for box in range(BOXES):
            left, top = 20 + 190 * (box % 2), 20 + 90 * (box // 2)
            ImageDraw.Draw(page).text((left, top + 6), f"word {number} {box}", 20)
            if box < BOXES - 1:
                lines.append(f'pages/{number}.png,"[{left},{top},90,30]",')
            else:
                corners = [left, top + 4, left + 90, top, left + 92, top + 30, left + 2, top + 34]
                lines.append(f'pages/{number}.png,,"{corners}"')
        page.save(buffer, "PNG")
        write_atomic(f"{s3_bucket}/pages/{number}.png", buffer.getvalue())
    write_atomic(f"{s3_bucket}/pages/bad.png", b"no picture")
    lines += [
        'pages/0.png,"[900,20,80,30]",',
        'pages/bad.png,"[1,1,20,20]",',
        'pages/none.png,"[1,1,20,20]",',
    ]
    write_atomic(f"{s3_bucket}/boxes.csv", "\n".join(lines).encode())
    yield {
        "input": f"{s3_bucket}/boxes.csv",
        "output": f"{s3_bucket}/out",
        "model": str(untrained_bundle),
        "run": "night",
        "shard_rows": 4,
    }
    s3_server.order()


@pytest.mark.faults
def test_boxes_have_their_rows_whatever_dies_or_fails(
    nights: Nights, s3_server: Any, place: dict[str, Any]
) -> None:
    config = place | {"output": place["output"] + "-undisturbed"}
    s3_server.order()
    assert nights.run(**config) == 0
    requests = sum(method in MUTATING.split("|") for method, *_ in s3_server.requests())
    clean = published(config)
    assert len(clean) == PAGES * BOXES + 3
    reasons = sorted(reason for _, reason, _ in clean.values() if reason)
    assert reasons == ["box_outside_page", "missing_image", "not_an_image"]
    kill_points(nights, s3_server, place, clean, list(range(0, requests, 4)))
    bucket = place["output"].removeprefix("s3://").partition("/")[0]
    for number, fault in enumerate(
        [
            {"kind": "status", "probability": 0.3},
            {"kind": "reset_after", "probability": 0.3},
            {"kind": "truncate", "method": "GET", "path": "/pages/", "times": 4},
            {"kind": "corrupt", "method": "GET", "path": "/pages/", "times": 4},
            {"kind": "status", "code": "ExpiredToken", "status": 400, "method": "GET", "path": "/pages/2"},
        ]
    ):
        config = place | {"output": f"{place['output']}-fault-{number}"}
        pid = nights.prepare(**config)
        s3_server.order({"path": f"/{bucket}/"} | fault)
        nights.go(pid)
        code = nights.wait(pid)
        s3_server.order()
        assert code in (0, 3), fault
        assert nights.run(**config) == 0, fault
        assert is_exact(config, clean), fault
