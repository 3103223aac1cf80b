import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import ConfigError
from pipeline.inputs.items import LARGEST, Item
from pipeline.inputs.tables import is_table, table_items
from pipeline.storage import stat, write_atomic

BOX = (5.0, 6.0, 25.0, 6.0, 25.0, 16.0, 5.0, 16.0)


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    uri = str(tmp_path) if request.param == "disk" else str(request.getfixturevalue("s3_bucket"))
    for name in ("a.png", "b c/ü.png"):
        write_atomic(f"{uri}/in/{name}", name.encode())
    return uri


def items(uri: str, text: str) -> list[Item]:
    write_atomic(uri, text.encode())
    return list(table_items(uri))


def test_a_csv_of_uris_is_looked_up_where_it_knows_no_version(place: str) -> None:
    text = f"id,uri\n1,a.png\n2,{place}/in/b c/ü.png\n3,gone.png\n4,\n"
    first, second, gone, empty = items(f"{place}/in/list.csv", text)
    assert (first.uri, first.key, first.member) == (f"{place}/in/a.png", "a.png", "")
    assert (first.etag, first.size, first.unfit) == (stat(first.uri).etag, 5, None)
    assert second.uri == f"{place}/in/b c/ü.png"
    assert (gone.uri, gone.unfit, empty.unfit) == (f"{place}/in/gone.png", "missing_image", "missing_image")


def test_a_version_that_is_listed_is_taken_at_its_word(tmp_path: Path) -> None:
    rows = {"uri": ["s3://elsewhere/x.png"] * 2, "etag": ['"abc"', "def"], "size": [7, 8]}
    pq.write_table(pa.table(rows), tmp_path / "list.parquet")
    found = list(table_items(f"{tmp_path}/list.parquet"))
    assert [(each.uri, each.etag, each.size) for each in found] == [
        ("s3://elsewhere/x.png", "abc", 7),
        ("s3://elsewhere/x.png", "def", 8),
    ]


def test_boxes_and_polygons_are_corners_and_parts_of_their_page(place: str) -> None:
    rows = {
        "uri": ["a.png"] * 4,
        "box": [[5, 6, 20, 10], None, None, None],
        "polygon": [None, [[5, 6], [25, 6], [25, 16], [5, 16]], [[0, 0], [9, 1], [9, 8], [0, 7]], None],
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(rows), sink)
    write_atomic(f"{place}/in/pages.parquet", sink.getvalue().to_pybytes())
    found = list(table_items(f"{place}/in/pages.parquet"))
    assert [each.box for each in found] == [BOX, BOX, (0, 0, 9, 1, 9, 8, 0, 7), None]
    assert [each.member for each in found][:2] == ["box 5,6,25,6,25,16,5,16"] * 2
    assert found[3].member == ""
    assert {each.uri for each in found} == {f"{place}/in/a.png"}


@pytest.mark.parametrize(
    "shape",
    [[1, 2, 3], [1, 2, 0, 4], [1, 2, -3, 4], ["x", 1, 2, 3], {"left": 1}, 5, [float("nan"), 1, 2, 3]],
)
def test_a_box_that_is_none_is_a_rejection_of_its_line(tmp_path: Path, shape: object) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    text = json.dumps(shape).replace('"', '""')
    bad, good = items(f"{tmp_path}/pages.csv", f'uri,box\na.png,"{text}"\na.png,"[5,6,20,10]"\n')
    assert (bad.unfit, good.unfit) == ("bad_box", None)
    assert good.box == BOX
    assert bad.member != good.member


@pytest.mark.parametrize("polygon", ["[1,2,3,4,5,6]", "[1,2,3,4,5,6,7,8,9,10]", "[[1,2],[3,4],[5,6]]", "{"])
def test_a_polygon_has_as_many_corners_above_as_below(tmp_path: Path, polygon: str) -> None:
    (only,) = items(f"{tmp_path}/pages.csv", f'uri,polygon\na.png,"{polygon}"\n')
    assert only.unfit == "bad_box"


def test_a_line_without_a_box_is_its_page_whatever_becomes_of_others(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    lines = ["uri,box,polygon", 'a.png,,"[1,2,3]"', 'a.png,,"[1,2]"', "a.png,,", 'a.png,"[5,6,20,10]",']
    found = items(f"{tmp_path}/pages.csv", "\n".join(lines))
    assert [each.unfit for each in found] == ["bad_box", "bad_box", None, None]
    assert found[2].member == ""
    assert len({each.member for each in found}) == 4


@pytest.mark.parametrize("uri", ["https://x.org/a.png", "n" * 304, "round.png", "nu\0ll.png", ".", "a.png/b"])
def test_a_line_that_no_file_can_be_named_by_is_unfit(tmp_path: Path, uri: str) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "round.png").symlink_to("round.png")
    bad, good = items(f"{tmp_path}/list.csv", f"uri\n{uri}\na.png\n")
    assert (bad.unfit, bad.key, good.unfit) == ("missing_image", uri, None)


def test_lines_of_any_size_and_depth_are_unfit_and_no_end(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    deep, far = "[" * 20_000, f"[{'9' * 400},1,2,3]"
    lines = [
        f'a.png,"{deep}",,',
        f'a.png,"{far}",,',
        "file://~nobody/a.png,,,",
        f"a.png,,e,{10**20}",
        "a.png,,,",
    ]
    found = items(f"{tmp_path}/list.csv", "\n".join(["uri,box,etag,size", *lines]))
    assert [each.unfit for each in found] == ["bad_box", "bad_box", "missing_image", None, None]
    assert all(each.size <= LARGEST for each in found)


def test_a_bucket_that_is_not_there_spoils_no_line(s3_bucket: str, tmp_path: Path) -> None:
    text = f"uri\n{s3_bucket}/none.png\n"
    assert [each.unfit for each in items(f"{tmp_path}/list.csv", text)] == ["missing_image"]
    with pytest.raises(ConfigError, match=r"s3://misspelt.*bucket"):
        items(f"{tmp_path}/list.csv", f"{text}s3://misspelt/a.png\n")


def test_a_quote_that_is_not_closed_swallows_no_lines(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"list\.csv, line 3: .*quotes"):
        items(f"{tmp_path}/list.csv", 'uri,box\na.png,\na.png,"[1,2\na.png,\n')


def test_what_is_no_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="columns path, text; a list needs column uri"):
        items(f"{tmp_path}/list.csv", "path,text\nx,y\n")
    with pytest.raises(ConfigError, match="isn't sound Parquet"):
        items(f"{tmp_path}/list.parquet", "no Parquet")
    write_atomic(f"{tmp_path}/x.csv", b"uri\n\xff\n")
    with pytest.raises(ConfigError, match="isn't UTF-8"):
        list(table_items(f"{tmp_path}/x.csv"))
    with pytest.raises(ConfigError, match="no-such-list"):
        list(table_items(f"{tmp_path}/no-such-list.csv"))
    pq.write_table(pa.table({"image": [b"x"]}), tmp_path / "images.parquet")
    with pytest.raises(ConfigError, match="where --input is their folder"):
        list(table_items(f"{tmp_path}/images.parquet"))


def test_tables_are_told_by_their_names() -> None:
    assert is_table("s3://b/x.PARQUET")
    assert is_table("list.csv")
    assert not is_table("folder/csv")
