from pathlib import Path

import pytest

from pipeline.sources.files import Entry
from pipeline.sources.markup import ic03_scenes, ic03_words, svt
from pipeline.sources.samples import MALFORMED, Reject, SourceError, SourceOptions


def entries(reader, path: Path, **options) -> list[Entry | Reject]:
    return [e for part in reader(SourceOptions(input=str(path), **options)) for e in part.entries]


def test_svt_words_keep_the_lexicon_of_their_scene(shared: Path) -> None:
    found = entries(svt, shared / "formats/svt_train.xml")
    assert len(found) == 257
    first = found[0]
    assert isinstance(first, Entry)
    assert (first.text, first.box) == ("LIVING", (375.0, 253.0, 236.0, 75.0))
    assert first.image.endswith("img/14_03.jpg")
    for entry in found:
        assert isinstance(entry, Entry)
        assert entry.lexicon is not None
        assert entry.text in entry.lexicon


def test_svt_with_ready_crops_takes_them_by_their_number(shared: Path) -> None:
    found = entries(svt, shared / "formats/svt_train.xml", images="/crops", crops="{:04d}.png")
    last = found[-1]
    assert isinstance(last, Entry)
    assert (last.image, last.box) == ("/crops/0256.png", None)


def test_a_scene_that_comes_twice_gives_words_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "w.xml"
    scene = (
        "<image><imageName>s.jpg</imageName>"
        '<taggedRectangle x="1" y="2" width="3" height="4"><tag>ok</tag></taggedRectangle></image>'
    )
    path.write_text(f"<t>{scene}{scene}</t>")
    assert [e.id for e in entries(svt, path)] == ["s.jpg#1", "s.jpg#2"]


@pytest.mark.parametrize("number", ["nan", "inf", "1e999", "-1e999", "1.79e308"])
def test_rectangles_of_no_finite_numbers_are_named(tmp_path: Path, number: str) -> None:
    path = tmp_path / "w.xml"
    path.write_text(
        "<t><image><imageName>s.jpg</imageName>"
        f'<taggedRectangle x="1e308" y="2" width="{number}" height="4"><tag>ok</tag></taggedRectangle>'
        "</image></t>"
    )
    (found,) = entries(svt, path)
    assert isinstance(found, Reject)
    assert found.reason == MALFORMED


def test_ic03_word_crops(shared: Path) -> None:
    found = entries(ic03_words, shared / "formats/ic03_word_sample.xml")
    assert len(found) == 12
    assert isinstance(found[0], Entry)
    assert (found[0].text, Path(found[0].image).name) == ("311", "1.jpg")


def test_ic03_scenes_have_rectangles_in_fractions(shared: Path) -> None:
    found = entries(ic03_scenes, shared / "formats/ic03_words_sample.xml")
    assert isinstance(found[0], Entry)
    assert (found[0].text, found[0].box) == ("311", (196.0, 901.0, 111.0, 67.0))
    assert len({e.id for e in found}) == len(found) >= 7


def test_latin_1_is_read_as_the_document_declares_it(tmp_path: Path) -> None:
    path = tmp_path / "word.xml"
    text = '<?xml version="1.0" encoding="iso-8859-1"?><l><image file="a" tag="caf\xe9"/></l>'
    path.write_bytes(text.encode("latin-1"))
    (entry,) = entries(ic03_words, path)
    assert entry.text == "café"


def test_elements_without_what_they_need_are_named(tmp_path: Path) -> None:
    path = tmp_path / "w.xml"
    path.write_text(
        "<t><image><imageName>s.jpg</imageName><taggedRectangles>"
        '<taggedRectangle x="1" y="2" width="3" height="4"><tag>ok</tag></taggedRectangle>'
        '<taggedRectangle x="1" y="2" width="wide" height="4"><tag>no</tag></taggedRectangle>'
        '<taggedRectangle x="1" y="2" width="3" height="4"/></taggedRectangles></image></t>'
    )
    found = entries(svt, path)
    assert [type(e) for e in found] == [Entry, Reject, Reject]
    assert isinstance(found[2], Reject)
    assert found[2].reason == MALFORMED
    assert "rectangle 3" in found[2].detail
    path.write_text('<l><image file="a"/></l>')
    assert isinstance(entries(ic03_words, path)[0], Reject)


@pytest.mark.parametrize("data", [b"", b"<a><b></a>", b'<?xml version="1.0" encoding="none-such"?><a/>'])
def test_broken_xml_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "w.xml"
    path.write_bytes(data)
    with pytest.raises(SourceError, match=r"broken XML"):
        entries(svt, path)
