"""Other people's readers get exactly the images that count, and are named where they aren't installed."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from crnn.metrics import PROTOCOLS
from pipeline import peers
from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport, score
from pipeline.protocols import FILTERS
from pipeline.readings import READING_SCHEMA
from pipeline.registry import ResolvedModel
from tests.datasets import png, printed, word_rows, write_data_set

TEXTS = ["hello", "a-b", "world", "7", "street"]


@pytest.fixture
def report(tmp_path: Path) -> EvaluationReport:
    """An evaluation of five words, of which one doesn't count; read without a fault."""
    write_data_set(str(tmp_path), word_rows(TEXTS), shard_rows=2)
    rows = [
        {"shard": i // 2, "row": i % 2, "text": text, "prediction": text, "seconds": 0.01}
        for i, text in enumerate(TEXTS)
    ]
    part = score(
        "words",
        str(tmp_path),
        pa.Table.from_pylist(rows, schema=READING_SCHEMA),
        fingerprint="f",
        protocol=PROTOCOLS["alnum36"],
        chosen=FILTERS["alnum"],
    )
    model = ResolvedModel(name="ours", version="1", digest="d", directory=Path())
    return EvaluationReport(model=model, protocol=PROTOCOLS["alnum36"], filter=FILTERS["alnum"], sets=(part,))


def test_the_images_that_count_are_handed_over_in_the_order_of_their_truths(
    report: EvaluationReport, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    truths = peers._write_images(report.sets[0], folder)
    assert truths == ["hello", "world", "7", "street"]
    images = [row["image"] for row in word_rows(TEXTS)]
    assert [file.read_bytes() for file in sorted(folder.iterdir())] == [images[i] for i in (0, 2, 3, 4)]


def test_an_image_that_is_stored_turned_or_clear_is_handed_over_as_we_read_it() -> None:
    word = printed("street")
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    word.rotate(90, expand=True).save(buffer, "PNG", exif=exif)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(peers._upright(buffer.getvalue())))), word)
    assert peers._upright(png(word)) == png(word)
    assert peers._upright(b"no image") == b"no image"


def test_where_no_peer_is_installed_it_is_said_how_to(
    report: EvaluationReport, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "PYTHON", tmp_path / "python")
    with pytest.raises(ConfigError, match="make peers"):
        peers.read_with_peers(report)


def test_peers_that_are_installed_read_printed_words(report: EvaluationReport, tmp_path: Path) -> None:
    if not peers.PYTHON.is_file():
        pytest.skip("needs other people's recognisers in an environment of their own: make peers")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "0").write_bytes(png(printed("hello")))
    (tmp_path / "images" / "1").write_bytes(b"no image")
    found = peers.read_with_peers(report)
    assert [part.peer for part in found] == list(peers.PEERS)
    assert all((part.counts.words, part.images_per_second > 0) == (4, True) for part in found)
    table = peers.rows(report, found)
    assert [row[:4] for row in table[:1]] == [("words", "ours", 4, 100.0)]
    assert len(table) == 1 + len(peers.PEERS)
    texts, _ = peers._read("tesseract", str(tmp_path / "images"))
    assert len(texts) == 2
    assert texts[1] == ""
