"""From inputs of every kind to rows: what is listed is what is read, each image once."""

import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from crnn.cropping import crop
from crnn.preprocess import PreprocessConfig, decode_image, line_image
from pipeline.errors import TransientStorageError
from pipeline.fetch import FetchConfig, Gone
from pipeline.inputs.contents import content, contents
from pipeline.inputs.listed import items
from pipeline.lines import LINE_SCHEMA, read_lines
from pipeline.listing import input_id
from pipeline.sandbox import Sandbox, SandboxConfig
from pipeline.schema import LISTING_SCHEMA
from pipeline.storage import delete, list_objects, write_atomic
from tests.pipeline.inputs.test_archives import packed, parquet, tar, tgz

GEOMETRY = PreprocessConfig()


def png(seed: int, width: int = 60) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (24, width), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGES = {f"{number}.png": png(number, 40 + number) for number in range(6)}


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    uri = str(tmp_path) if request.param == "disk" else str(request.getfixturevalue("s3_bucket"))
    for name, data in (
        ("in/a.png", png(9)),
        ("in/b.tar", tar(IMAGES | {"0.txt": b"label", "../out.png": b"x"})),
        ("in/c.zip", packed(IMAGES)),
        ("in/d.parquet", parquet(IMAGES)),
        ("in/e.zip", packed(IMAGES)[:-30]),
        ("in/f.png", png(10)),
        ("in/g.tar.gz", tgz(IMAGES)),
    ):
        write_atomic(f"{uri}/{name}", data)
    return uri


def rows(source: str, index: str | None = None) -> list[dict[str, Any]]:
    return [
        {
            "input_id": input_id(each.uri, each.etag, each.size, each.member),
            "uri": each.uri,
            "member": each.member,
            "key": each.key,
            "etag": each.etag,
            "size": each.size,
            "position": each.position,
            "box": each.box,
            "modified": each.modified,
            "unfit": each.unfit,
            "unfit_detail": each.detail,
            "earlier_rows": 0,
            "gone": False,
        }
        for each in items(source, index)
    ]


def test_archives_are_listed_in_place_by_their_members(place: str) -> None:
    keys = [(row["key"], row["unfit"]) for row in rows(f"{place}/in")]
    names = list(IMAGES)
    wanted = [("a.png", None), *((f"b.tar/{name}", None) for name in [*names, "0.txt"])]
    wanted += [("b.tar/../out.png", "unsafe_name"), *((f"c.zip/{name}", None) for name in names)]
    wanted += [(f"d.parquet/row {row}", None) for row in range(6)]
    wanted += [("e.zip", "damaged_archive"), ("f.png", None)]
    assert keys == [*wanted, *((f"g.tar.gz/{name}", None) for name in names)]


def test_what_is_in_an_archive_is_found_once_and_remembered(s3_server: Any, s3_bucket: str) -> None:
    for number in range(3):
        write_atomic(f"{s3_bucket}/in/{number}.tar", tar(IMAGES))
    first = rows(f"{s3_bucket}/in", f"{s3_bucket}/index")
    s3_server.order()
    assert rows(f"{s3_bucket}/in", f"{s3_bucket}/index") == first
    assert not [path for method, path, _ in s3_server.requests() if method != "GET" or path.endswith(".tar")]
    write_atomic(f"{s3_bucket}/in/1.tar", tar(dict(list(IMAGES.items())[:2])))
    assert len(rows(f"{s3_bucket}/in", f"{s3_bucket}/index")) == len(first) - 4
    assert len(list(list_objects(f"{s3_bucket}/index"))) == 4


def test_everything_that_is_listed_is_read(place: str) -> None:
    listed = [row for row in rows(f"{place}/in") if row["unfit"] is None]
    found = dict(zip((row["key"] for row in listed), contents(listed, FetchConfig(bytes=500)), strict=True))
    wanted = {"a.png": png(9), "f.png": png(10), "b.tar/0.txt": b"label"}
    wanted |= {
        f"{archive}/{name}": data
        for archive in ("b.tar", "c.zip", "g.tar.gz")
        for name, data in IMAGES.items()
    }
    wanted |= {f"d.parquet/row {row}": data for row, data in enumerate(IMAGES.values())}
    assert found == wanted
    assert [content(row) for row in listed[::-1]] == list(found.values())[::-1]


@pytest.mark.parametrize("archive", ["b.tar", "c.zip", "d.parquet", "g.tar.gz"])
def test_an_archive_that_changes_or_goes_takes_its_members_with_it(place: str, archive: str) -> None:
    listed = [row for row in rows(f"{place}/in") if row["unfit"] is None]
    write_atomic(f"{place}/in/{archive}", b"other")

    def reasons() -> dict[str, set[str]]:
        told: dict[str, set[str]] = {}
        for row, found in zip(listed, contents(listed, FetchConfig()), strict=True):
            told.setdefault(row["uri"].rpartition("/")[2], set()).add(
                found.reason if isinstance(found, Gone) else "read"
            )
        return told

    names = ("a.png", "b.tar", "c.zip", "d.parquet", "f.png", "g.tar.gz")
    others = {name: {"read"} for name in names if name != archive}
    assert reasons() == others | {archive: {"changed"}}
    delete(f"{place}/in/{archive}")
    assert reasons() == others | {archive: {"deleted"}}


def test_a_fault_in_an_archive_is_raised_and_leaves_no_thread(
    s3_server: Any, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE_PATIENCE_S", "0.2")
    write_atomic(f"{s3_bucket}/in/b.tar", tar(IMAGES))
    listed = rows(f"{s3_bucket}/in")
    s3_server.order({"kind": "status", "path": "b.tar", "method": "GET"})
    with pytest.raises(TransientStorageError, match=r"b\.tar"):
        list(contents(listed, FetchConfig()))
    s3_server.order()
    left = contents(listed, FetchConfig(bytes=1))
    next(left)
    left.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "archive"]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(GEOMETRY, SandboxConfig()) as sandbox:
        yield sandbox


def test_boxes_of_a_page_become_lines_of_their_own(tmp_path: Path, sandbox: Sandbox) -> None:
    pages = [np.random.default_rng(seed).integers(0, 256, (300, 400), np.uint8) for seed in range(2)]
    for number, page in enumerate(pages):
        Image.fromarray(page).save(tmp_path / f"{number}.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    lines = ["uri,box,polygon", '0.png,"[10,20,80,30]",', '0.png,,"[50,50,150,80,140,110,40,80]"']
    lines += ['0.png,"[900,20,80,30]",', '1.png,"[10,20,80,30]",', "1.png,,", 'bad.png,"[1,2,30,40]",']
    (tmp_path / "pages.csv").write_text("\n".join(lines))
    listed = pa.Table.from_pylist(rows(f"{tmp_path}/pages.csv"), schema=LISTING_SCHEMA)
    found = read_lines(listed, sandbox, FetchConfig())
    assert found.schema.equals(LINE_SCHEMA)
    assert found["reason"].to_pylist() == [None, None, "box_outside_page", None, None, "not_an_image"]
    turned = listed["box"][1].as_py()
    wanted = [pages[0][20:50, 10:90], crop(pages[0], turned), pages[1][20:50, 10:90], pages[1]]
    assert found["pixels"].drop_null().to_pylist() == [
        line_image(each, GEOMETRY).tobytes() for each in wanted
    ]
    assert found["width"].to_pylist()[:2] == [80, crop(pages[0], turned).shape[1]]


def test_members_become_lines_and_what_is_unfit_keeps_its_reason(place: str, sandbox: Sandbox) -> None:
    listed = pa.Table.from_pylist(rows(f"{place}/in"), schema=LISTING_SCHEMA)
    found = read_lines(listed, sandbox, FetchConfig())
    reasons = dict(zip(found["key"].to_pylist(), found["reason"].to_pylist(), strict=True))
    assert {key: reason for key, reason in reasons.items() if reason} == {
        "b.tar/0.txt": "not_an_image",
        "b.tar/../out.png": "unsafe_name",
        "e.zip": "damaged_archive",
    }
    lines = dict(zip(found["key"].to_pylist(), found["pixels"].to_pylist(), strict=True))
    for number, data in enumerate(IMAGES.values()):
        wanted = line_image(decode_image(data), GEOMETRY).tobytes()
        assert {lines[f"b.tar/{number}.png"], lines[f"c.zip/{number}.png"]} == {wanted}
        assert lines[f"d.parquet/row {number}"] == wanted


def test_the_time_of_a_manifests_version_that_is_known_is_not(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("uri,etag,size\ns3://b/x.png,e,5\n")
    (only,) = rows(f"{tmp_path}/x.csv")
    assert only["modified"] == datetime(1970, 1, 1, tzinfo=UTC)
