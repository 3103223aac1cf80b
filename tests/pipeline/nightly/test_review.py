from pathlib import Path

from PIL import Image

from pipeline.fetch import FetchConfig
from pipeline.nightly.review import export_review
from pipeline.nightly.table import TranscriptTable
from pipeline.sources.catalogue import FORMATS
from pipeline.sources.samples import Sample, SourceOptions
from pipeline.storage import list_objects
from tests.pipeline.nightly.test_table import nothing, put, row


def published(folder: Path, *readings: tuple[str, float]) -> TranscriptTable:
    """A table with a night "r" over a picture for each text and confidence, all pictures different."""
    (folder / "in").mkdir()
    for number in range(len(readings)):
        Image.new("L", (50, 20), 200 + number).save(folder / "in" / f"{number}.png")
    stored = list_objects(str(folder / "in"))
    rows = [
        row(each.key, uri=each.uri, etag=each.etag, size=each.size, text=text, confidence=confidence)
        for each, (text, confidence) in zip(stored, readings, strict=True)
    ]
    table = TranscriptTable(str(folder / "out"))
    table.publish("r", [put(table, "r", *rows)], epoch=1, publication=1, check=nothing)
    return table


def test_the_least_confident_images_come_back_as_samples(tmp_path: Path) -> None:
    table = published(tmp_path, *((f"tab\there {number}", 1 - number / 10) for number in range(5)))
    images = {number: (tmp_path / f"in/{number}.png").read_bytes() for number in (2, 4)}
    (tmp_path / "in/3.png").unlink()
    folder = str(tmp_path / "review")
    assert export_review(table, "r", 3, folder, FetchConfig()) == 2
    options = SourceOptions(input=f"{folder}/labels.tsv")
    read = [each for part in FORMATS["table"].open(options) for each in part.read()]
    assert [(each.text, each.image) for each in read if isinstance(each, Sample)] == [
        ("tab here 4", images[4]),
        ("tab here 2", images[2]),
    ]
    assert len(read) == 2


def test_copies_of_a_picture_come_after_all_others(tmp_path: Path) -> None:
    copies = [("unsure", 0.1 + number * 1e-7) for number in range(5)]
    table = published(tmp_path, *copies, ("sure", 0.5), ("sure", 0.6))
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
