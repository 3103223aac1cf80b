from pathlib import Path

import pytest

from pipeline.sources.files import Entry
from pipeline.sources.lists import icdar, mjsynth, paddle, spaced, table
from pipeline.sources.samples import (
    BAD_ENCODING,
    MALFORMED,
    UNREADABLE_LABEL,
    Reject,
    SourceError,
    SourceOptions,
)


def entries(reader, path: Path, **options) -> list[Entry | Reject]:
    return [e for part in reader(SourceOptions(input=str(path), **options)) for e in part.entries]


def texts(found: list[Entry | Reject]) -> list[tuple[str, str]]:
    return [(Path(e.image).name, e.text) for e in found if isinstance(e, Entry)]


def written(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_icdar_2013_as_it_is_published(shared: Path) -> None:
    found = entries(icdar, shared / "formats/ic13_gt_sample.txt")
    assert len(found) == 20
    assert texts(found)[:3] == [("word_1.png", "Tiredness"), ("word_2.png", "kills"), ("word_3.png", "A")]


def test_icdar_2015_as_it_is_published(shared: Path) -> None:
    found = entries(icdar, shared / "formats/ic15_train_gt.txt")
    assert len(found) == len(texts(found)) == 4468
    labels = dict(texts(found))
    assert labels["word_1.png"] == "Genaxis Theatre"  # behind a byte order mark, with a space
    assert labels["word_1013.png"] == 'READER"'
    assert labels["word_1018.png"] == '"SCAN"'
    assert labels["word_162.png"] == "36,000,000"
    assert labels["word_806.png"] == "(US$1,57"
    assert not any(label.endswith("\r") for label in labels.values())


def test_lines_that_are_not_of_the_format_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "gt.txt", 'a.png, "x"\nnonsense\n\nb.png, "###"\n')
    kept, broken, unreadable = entries(icdar, path)
    assert isinstance(kept, Entry)
    assert isinstance(broken, Reject)
    assert (broken.reason, broken.id) == (MALFORMED, "gt.txt:2")
    assert "gt.txt:2" in broken.detail
    assert isinstance(unreadable, Reject)
    assert unreadable.reason == UNREADABLE_LABEL


def test_a_line_in_another_encoding_is_lost_alone_and_says_which(tmp_path: Path) -> None:
    path = written(tmp_path / "gt.txt", b'a.png, "x"\r\nb.png, "caf\xe9"\r\nc.png, "z"\r\n')
    found = entries(icdar, path)
    assert texts(found) == [("a.png", "x"), ("c.png", "z")]
    (lost,) = [e for e in found if isinstance(e, Reject)]
    assert lost.reason == BAD_ENCODING
    assert "gt.txt:2" in lost.detail
    assert texts(entries(icdar, path, encoding="latin-1"))[1] == ("b.png", "café")


def test_utf_16_is_read_where_it_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "list.txt", "a.png\tЯ\nb.png\tß\n".encode("utf-16"))
    assert texts(entries(paddle, path, encoding="utf-16")) == [("a.png", "Я"), ("b.png", "ß")]


def test_paddle_as_it_is_published(shared: Path) -> None:
    found = entries(paddle, shared / "formats/paddle_rec_gt_sample.txt", images="/data")
    assert len(texts(found)) == 200
    assert isinstance(found[1], Entry)
    assert (found[1].image, found[1].text) == ("/data/train/word_2.png", "[06]")


def test_paddle_lists_share_one_text(tmp_path: Path) -> None:
    path = written(tmp_path / "l.txt", '["a.png", "b.png"]\tone\n[1]\ttwo\n["x"\tthree\nc.png four\n')
    found = entries(paddle, path)
    assert texts(found) == [("a.png", "one"), ("b.png", "one")]
    assert [e.reason for e in found if isinstance(e, Reject)] == [MALFORMED] * 3


def test_mjsynth_labels_are_the_middle_of_the_name_with_their_case(shared: Path) -> None:
    found = entries(mjsynth, shared / "formats/mjsynth_annotation.txt")
    assert [text for _, text in texts(found)] == ["Paintbrushes", "Reimbursing", "Creationisms"]


def test_mjsynth_paths_and_splits(tmp_path: Path) -> None:
    path = written(tmp_path / "annotation_val.txt", "./2425/1/115_Lube_45484.jpg 45484\n./1/x.jpg 3\n")
    good, bad = entries(mjsynth, path)
    assert isinstance(good, Entry)
    assert good.image == f"{tmp_path}/2425/1/115_Lube_45484.jpg"
    assert (good.text, good.split) == ("Lube", "val")
    assert isinstance(bad, Reject)


def test_path_and_text_parted_by_a_space(shared: Path) -> None:
    found = entries(spaced, shared / "formats/simple_annotation.txt")
    assert texts(found)[-1] == ("word_2.png", "kills")  # the last line has no line feed
    assert len(texts(entries(spaced, shared / "formats/mmocr_toy/old_label.txt"))) == 10


def test_a_tsv_without_heading_keeps_quotes(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.tsv", 'images/a.jpg\tsay "x"\nimages/b.jpg\n')
    good, bad = entries(table, path)
    assert isinstance(good, Entry)
    assert good.text == 'say "x"'
    assert isinstance(bad, Reject)
    assert "labels.tsv:2" in bad.detail


def test_a_csv_with_heading_quotes_and_splits(tmp_path: Path) -> None:
    path = written(tmp_path / "labels.csv", 'split,file_name,Text\ntrain,a.jpg,"x, ""y"""\ntest,b.jpg,z\n')
    found = entries(table, path)
    assert texts(found) == [("a.jpg", 'x, "y"'), ("b.jpg", "z")]
    assert [e.split for e in found] == ["train", "test"]


def test_a_quote_that_is_not_closed_spoils_its_own_line_only(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", 'a.png,x\na.png,"SCAN\nb.png,y\nc.png,"p""q"\nd.png,"z"z\n')
    found = entries(table, path)
    assert texts(found) == [("a.png", "x"), ("b.png", "y"), ("c.png", 'p"q')]
    assert [(e.id, e.reason) for e in found if isinstance(e, Reject)] == [
        ("a.csv:2", MALFORMED),
        ("a.csv:5", MALFORMED),
    ]


def test_a_byte_in_another_encoding_spoils_its_own_row_only(tmp_path: Path) -> None:
    found = entries(table, written(tmp_path / "a.csv", b"a,x\nb,\xff\nc,y\n"))
    assert texts(found) == [("a", "x"), ("c", "y")]
    assert [e.reason for e in found if isinstance(e, Reject)] == [BAD_ENCODING]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.tsv", "a.jpg\tfoo\tbar\nb.jpg\tx\n"),
        ("b.tsv", "path\ttext\na.jpg\tfoo\tbar\nb.jpg\tx\n"),
        ("c.csv", "a.jpg,foo, bar\nb.jpg,x\n"),
    ],
)
def test_more_columns_than_are_known_are_no_label_cut_short(tmp_path: Path, name: str, text: str) -> None:
    found = entries(table, written(tmp_path / name, text))
    assert texts(found) == [("b.jpg", "x")]
    assert "3 columns" in next(e for e in found if isinstance(e, Reject)).detail


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(tmp_path: Path, end: str) -> None:
    path = written(tmp_path / "gt.txt", end.join(['a.png, "x"', 'b.png, "y"', ""]))
    assert texts(entries(icdar, path)) == [("a.png", "x"), ("b.png", "y")]


def test_the_shared_labels_are_a_table(shared: Path) -> None:
    assert len(texts(entries(table, shared / "data/ic15_train/labels.tsv"))) == 4468


def test_a_missing_annotation_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="--input"):
        entries(icdar, tmp_path / "none.txt")


def test_images_are_looked_up_as_the_options_say(tmp_path: Path) -> None:
    path = written(tmp_path / "gt.txt", 'train\\deep/word_1.png, "x"\n')
    (plain,) = entries(icdar, path)
    (moved,) = entries(icdar, path, images="s3://b/i", flatten=True, suffix=".jpg")
    assert isinstance(plain, Entry)
    assert isinstance(moved, Entry)
    assert plain.image == f"{tmp_path}/train/deep/word_1.png"
    assert moved.image == "s3://b/i/word_1.jpg"


def test_every_entry_has_an_id_of_its_own_though_an_image_is_named_twice(tmp_path: Path) -> None:
    path = written(tmp_path / "gt.txt", 'a.png, "x"\na.png, "y"\n')
    assert len({e.id for e in entries(icdar, path)}) == 2
    path = written(
        tmp_path / "l.txt", '["a.png", "a.png", "b.png", "a.png"]\tone\n' + "[" * 100_000 + "\tx\n"
    )
    *named, deep = entries(paddle, path)
    assert [e.id for e in named] == ["a.png#1", "a.png#1.2", "b.png#1", "a.png#1.3"]
    assert isinstance(deep, Reject)
