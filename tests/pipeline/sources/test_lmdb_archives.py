import io
import json
from pathlib import Path

import pytest
from PIL import Image

from pipeline.sources.lmdb_archives import lmdb_archive
from pipeline.sources.samples import (
    MALFORMED,
    MISSING_IMAGE,
    MISSING_LABEL,
    Reject,
    Sample,
    SourceError,
    SourceOptions,
)
from pipeline.storage import write_atomic

lmdb = pytest.importorskip("lmdb", reason="needs the package lmdb, which reads these archives")


def read(uri: Path | str, **options) -> list[Sample | Reject]:
    return [f for part in lmdb_archive(SourceOptions(input=str(uri), **options)) for f in part.read()]


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (40, 20), 128).save(buffer, "PNG")
    return buffer.getvalue()


def archive(path: Path, entries: dict[str, bytes]) -> Path:
    with lmdb.open(str(path), map_size=1 << 26) as environment, environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key.encode(), value)
    return path


def test_an_archive_of_clovaai_as_it_is_made(shared: Path) -> None:
    found = read(shared / "formats/mmocr_toy/imgs.lmdb")
    assert [f.text for f in found][:3] == ["GRAND", "HOTEL", "HOTEL"]
    assert len(found) == 10
    assert all(isinstance(f, Sample) for f in found)


def test_mmocr_labels_with_images_in_an_archive_or_in_files(shared: Path) -> None:
    toy = shared / "formats/mmocr_toy"
    by_archive = read(toy / "label.lmdb", images=str(toy / "imgs.lmdb"))
    by_files = read(toy / "label.lmdb", images=str(toy / "imgs"))
    assert [f.text for f in by_files] == [f.text for f in by_archive]
    assert all(isinstance(f, Sample) for f in (*by_archive, *by_files))


def test_a_broken_image_is_rejected_with_its_number(shared: Path) -> None:
    (found,) = read(shared / "formats/mmocr_toy/broken.lmdb")
    assert isinstance(found, Reject)
    assert found.id == "000000001"
    assert "label-000000001" in found.detail


def test_numbers_without_label_or_image_are_rejected(tmp_path: Path) -> None:
    path = archive(
        tmp_path / "a",
        {
            "num-samples": b"4",
            "label-000000001": "né".encode(),
            "image-000000001": picture(),
            "image-000000002": picture(),
            "label-000000003": b"x",
            "label-000000004": b"\xff",
            "image-000000004": picture(),
        },
    )
    found = read(path, split="val")
    assert isinstance(found[0], Sample)
    assert (found[0].text, found[0].split) == ("né", "val")
    reasons = [f.reason for f in found if isinstance(f, Reject)]
    assert reasons == [MISSING_LABEL, MISSING_IMAGE, "bad_encoding"]


def test_a_word_that_begins_with_a_brace_is_a_word(tmp_path: Path) -> None:
    entries = {"num-samples": b"1", "label-000000001": b"{x", "image-000000001": picture()}
    (found,) = read(archive(tmp_path / "a", entries))
    assert found.text == "{x"


def test_many_samples_come_in_several_parts_that_are_opened_where_they_are_read(tmp_path: Path) -> None:
    entries = {"num-samples": b"5000"}
    for i in range(1, 5001):
        entries |= {f"label-{i:09d}": f"w{i}".encode(), f"image-{i:09d}": picture()}
    parts = list(lmdb_archive(SourceOptions(input=str(archive(tmp_path / "a", entries)))))
    assert [len(part.numbers) for part in parts] == [4096, 904]
    assert [f.text for f in parts[1].read()] == [f"w{i}" for i in range(4097, 5001)]


def test_an_archive_that_was_cut_short_is_refused_not_a_crash(tmp_path: Path) -> None:
    entries = {"num-samples": b"300"}
    for i in range(1, 301):
        entries |= {f"label-{i:09d}": b"w", f"image-{i:09d}": picture() * 20}
    path = archive(tmp_path / "a", entries)
    data = path / "data.mdb"
    data.write_bytes(data.read_bytes()[: data.stat().st_size // 2])
    with pytest.raises(SourceError, match="cut short"):
        read(path)


def test_labels_beyond_num_samples_are_rejects(tmp_path: Path) -> None:
    entries = {"num-samples": b"2", "other": b"x"}
    for i in range(1, 6):
        entries |= {f"label-{i:09d}": b"w", f"image-{i:09d}": picture()}
    found = read(archive(tmp_path / "a", entries))
    assert [type(f) for f in found] == [Sample, Sample, Reject, Reject, Reject]
    assert [f.id for f in found] == [f"{i:09d}" for i in range(1, 6)]
    assert "num-samples = 2" in found[2].detail  # type: ignore[union-attr]


def test_a_damaged_page_costs_the_samples_on_it_only(tmp_path: Path) -> None:
    entries = {"num-samples": b"400"}
    for i in range(1, 401):
        entries |= {f"label-{i:09d}": f"w{i}".encode() * 20, f"image-{i:09d}": picture()}
    path = archive(tmp_path / "a", entries)
    data = bytearray((path / "data.mdb").read_bytes())
    # A page of labels: its header becomes that of no page.
    page = data.index(b"w200" * 20) // 4096 * 4096
    data[page : page + 16] = b"\xff" * 16
    (path / "data.mdb").write_bytes(data)
    found = read(path)
    lost = [f for f in found if isinstance(f, Reject)]
    assert len(found) == 400
    assert 0 < len(lost) < 100
    numbers = [int(f.id) for f in lost]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert all("damaged" in f.detail for f in lost)


def test_an_archive_whose_index_is_damaged_is_refused(tmp_path: Path) -> None:
    entries = {"num-samples": b"400"} | {f"label-{i:09d}": b"w" * 40 for i in range(1, 401)}
    data = archive(tmp_path / "a", entries) / "data.mdb"
    # All pages but the two that say where everything is.
    content = data.read_bytes()
    data.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
    with pytest.raises(SourceError, match="is damaged"):
        read(tmp_path / "a")


def test_a_large_archive_in_a_bucket_is_refused_with_what_to_do(tmp_path: Path, s3_bucket: str) -> None:
    for count in (1, 5000):
        entries = {"num-samples": b"%d" % count, "label-000000001": b"w", "image-000000001": picture()}
        data = archive(tmp_path / str(count), entries) / "data.mdb"
        write_atomic(f"{s3_bucket}/{count}/data.mdb", data.read_bytes())
    assert [f.text for f in read(f"{s3_bucket}/1")] == ["w"]
    with pytest.raises(SourceError, match="Copy it to a disk"):
        read(f"{s3_bucket}/5000")


def test_what_is_no_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="num-samples"):
        read(archive(tmp_path / "a", {"label-000000001": b"x"}))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "data.mdb").write_bytes(b"no archive" * 2000)
    with pytest.raises(SourceError, match="no LMDB archive"):
        read(tmp_path / "b")


def test_mmocr_labels_name_files_as_other_annotations_do(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    for place in ("a.jpg", "images/b.jpg"):
        (tmp_path / place).write_bytes(picture())
    labels = [
        {"filename": "../a.jpg", "text": "out"},
        {"filename": "deep/b.png", "text": "in"},
        {"filename": "deep/b.png", "text": None},
        {"filename": "deep/b.png", "text": 7},
    ]
    entries = {f"label-{i:09d}": json.dumps(label).encode() for i, label in enumerate(labels, start=1)}
    path = archive(tmp_path / "labels", {"num-samples": b"%d" % len(labels), **entries})
    beside = {"images": str(tmp_path / "images")}
    found = read(path, flatten=True, suffix=".jpg", **beside)
    assert [f.text for f in found if isinstance(f, Sample)] == ["in", "7"]
    assert [f.reason for f in found if isinstance(f, Reject)] == [MISSING_IMAGE, MALFORMED]
    out, *_ = read(path, suffix=".jpg", **beside)
    assert isinstance(out, Reject)
    assert out.reason == MALFORMED
    assert "outside of the archive" in out.detail
