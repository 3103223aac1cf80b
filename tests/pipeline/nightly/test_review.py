import io
from pathlib import Path

from PIL import Image

from pipeline.fetch import FetchConfig
from pipeline.nightly.review import export_review
from pipeline.nightly.table import TranscriptTable
from pipeline.sources.catalogue import FORMATS
from pipeline.sources.samples import Sample, SourceOptions
from pipeline.storage import list_objects
from tests.pipeline.nightly.test_table import nothing, put, row


def test_the_least_confident_images_come_back_as_samples(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    buffer = io.BytesIO()
    Image.new("L", (50, 20), 200).save(buffer, "PNG")
    for number in range(5):
        (tmp_path / "in" / f"{number}.png").write_bytes(buffer.getvalue())
    table = TranscriptTable(str(tmp_path / "out"))
    rows = [
        row(
            stored.key,
            uri=stored.uri,
            etag=stored.etag,
            size=stored.size,
            text=f"tab\there {number}",
            confidence=1 - number / 10,
        )
        for number, stored in enumerate(list_objects(str(tmp_path / "in")))
    ]
    table.publish("r", [put(table, "r", *rows)], epoch=1, publication=1, check=nothing)
    (tmp_path / "in/3.png").unlink()
    folder = str(tmp_path / "review")
    assert export_review(table, "r", 3, folder, FetchConfig()) == 2
    options = SourceOptions(input=f"{folder}/labels.tsv")
    read = [each for part in FORMATS["table"].open(options) for each in part.read()]
    assert [(each.text, each.image) for each in read if isinstance(each, Sample)] == [
        ("tab here 4", buffer.getvalue()),
        ("tab here 2", buffer.getvalue()),
    ]
    assert len(read) == 2


def test_copies_of_a_picture_come_after_all_others(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(7):
        Image.new("L", (50, 20), number).save(tmp_path / "in" / f"{number}.png")
    table = TranscriptTable(str(tmp_path / "out"))
    rows = [
        row(
            stored.key,
            uri=stored.uri,
            etag=stored.etag,
            size=stored.size,
            text="unsure" if number < 5 else "sure",
            confidence=0.1 + number * 1e-7 if number < 5 else number / 10,
        )
        for number, stored in enumerate(list_objects(str(tmp_path / "in")))
    ]
    table.publish("r", [put(table, "r", *rows)], epoch=1, publication=1, check=nothing)
    texts = {}
    for count in (1, 3, 4, 9):
        folder = tmp_path / f"review{count}"
        assert export_review(table, "r", count, str(folder), FetchConfig()) == min(count, 7)
        lines = (folder / "labels.tsv").read_text().splitlines()[1:]
        texts[count] = [line.partition("\t")[2] for line in lines]
    assert texts[1] == ["unsure"]
    assert texts[3] == ["unsure", "sure", "sure"]
    assert texts[4] == [*texts[3], "unsure"]
    assert texts[9] == [*texts[3], *["unsure"] * 4]
