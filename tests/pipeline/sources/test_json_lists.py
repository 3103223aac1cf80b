from pathlib import Path

import pytest

from pipeline.sources.files import Entry
from pipeline.sources.json_lists import json_lines, mmocr_json
from pipeline.sources.samples import MALFORMED, Reject, SourceError, SourceOptions


def entries(reader, path: Path) -> list[Entry | Reject]:
    return [e for part in reader(SourceOptions(input=str(path))) for e in part.entries]


def test_json_lines_as_mmocr_and_union14m_publish_them(shared: Path) -> None:
    found = entries(json_lines, shared / "formats/mmocr_toy/old_label.jsonl")
    assert [e.text for e in found][:2] == ["GRAND", "HOTEL"]
    assert len(found) == 10


def test_a_document_of_mmocr_1_as_it_is_published(shared: Path) -> None:
    found = entries(mmocr_json, shared / "formats/mmocr_toy/labels.json")
    assert len(found) == 10
    assert isinstance(found[4], Entry)
    assert found[4].text == "03/09/2009"
    assert found[4].image.endswith("mmocr_toy/1036169.jpg")


def test_bad_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    path.write_text(
        '{"filename": "a", "text": "x"}\n{"filename": 3}\nno json\n[]\n{"image": "b", "label": "y"}\n'
        + "[" * 100_000
    )
    found = entries(json_lines, path)
    assert [e.text for e in found if isinstance(e, Entry)] == ["x", "y"]
    bad = [e for e in found if isinstance(e, Reject)]
    assert [e.reason for e in bad] == [MALFORMED] * 4
    assert [e.id for e in bad] == ["l.jsonl:2", "l.jsonl:3", "l.jsonl:4", "l.jsonl:6"]


def test_bad_items_are_named(tmp_path: Path) -> None:
    path = tmp_path / "d.json"
    path.write_text(
        '{"data_list": [{"img_path": "a", "instances": [{"text": "x"}]}, '
        '{"img_path": "b", "instances": []}, 7, {"img_path": "c", "instances": 5}]}'
    )
    found = entries(mmocr_json, path)
    assert [type(e) for e in found] == [Entry, Reject, Reject, Reject]
    assert isinstance(found[1], Reject)
    assert "item 2" in found[1].detail


@pytest.mark.parametrize("text", ["[]", "{}", "no json", '{"data_list": 3}', "[" * 100_000])
def test_another_document_is_refused_with_a_hint(tmp_path: Path, text: str) -> None:
    path = tmp_path / "d.json"
    path.write_text(text)
    with pytest.raises(SourceError, match="json-lines"):
        entries(mmocr_json, path)
