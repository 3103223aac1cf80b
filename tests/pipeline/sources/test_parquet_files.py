import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.sources.parquet_files import parquet
from pipeline.sources.samples import Reject, Sample, SourceError, SourceOptions
from pipeline.storage import write_atomic


def read(reader, uri: Path | str, **options) -> list[Sample | Reject]:
    return [f for part in reader(SourceOptions(input=str(uri), **options)) for f in part.read()]


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (40, 20), 128).save(buffer, "PNG")
    return buffer.getvalue()


def test_hugging_face_parquet_in_row_groups(tmp_path: Path) -> None:
    images = [{"bytes": picture(), "path": "a.png"}, {"bytes": None, "path": "b.png"}, None]
    table = pa.table({"image": images + images[:1], "label": ["x", "y", "z", None]})
    pq.write_table(table, tmp_path / "train-00000.parquet", row_group_size=3)
    parts = list(parquet(SourceOptions(input=str(tmp_path))))
    assert len(parts) == 2
    kept, *bad = [found for part in parts for found in part.read()]
    assert isinstance(kept, Sample)
    assert (kept.text, kept.split, kept.id) == ("x", "train", "train-00000.parquet#0.0")
    assert [b.reason for b in bad if isinstance(b, Reject)] == [
        "missing_image",
        "missing_image",
        "missing_label",
    ]


def test_parquet_with_plain_bytes_and_another_name_of_the_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"image": [picture()], "text": ["x"]}), tmp_path / "a.parquet")
    (found,) = read(parquet, tmp_path / "a.parquet", split="val")
    assert isinstance(found, Sample)
    assert (found.text, found.split) == ("x", "val")


def test_a_label_that_is_not_utf_8_is_a_reject_and_the_rows_beside_it_stay(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"caf\xe9", "é".encode()], pa.binary())
    for kind in (pa.string(), pa.large_string()):
        damaged = pa.Array.from_buffers(
            kind, 3, texts.cast(pa.large_binary() if kind == pa.large_string() else pa.binary()).buffers()
        )
        pq.write_table(pa.table({"image": [picture()] * 3, "text": damaged}), tmp_path / "a.parquet")
        found = read(parquet, tmp_path / "a.parquet")
        assert [f.text if isinstance(f, Sample) else f.reason for f in found] == ["a", "bad_encoding", "é"]
        assert "row 1: not UTF-8" in found[1].detail
    views = pa.array(texts, pa.binary_view()).view(pa.string_view())
    pq.write_table(pa.table({"image": [picture()] * 3, "text": views}), tmp_path / "a.parquet")
    assert [isinstance(f, Sample) for f in read(parquet, tmp_path / "a.parquet")] == [True, False, True]


def test_labels_in_a_dictionary_are_read_as_others(tmp_path: Path) -> None:
    labels = pa.array(["x", "y", "x", None]).dictionary_encode()
    pq.write_table(pa.table({"image": [picture()] * 4, "label": labels}), tmp_path / "a.parquet")
    found = read(parquet, tmp_path / "a.parquet")
    assert [f.text if isinstance(f, Sample) else f.reason for f in found] == ["x", "y", "x", "missing_label"]


def test_a_folder_that_is_called_like_a_file_is_a_folder(tmp_path: Path, s3_bucket: str) -> None:
    folder = tmp_path / "set.parquet"
    folder.mkdir()
    pq.write_table(pa.table({"image": [picture()], "text": ["x"]}), folder / "part-0.parquet")
    write_atomic(f"{s3_bucket}/set.parquet/part-0.parquet", (folder / "part-0.parquet").read_bytes())
    for uri in (folder, f"{folder}/", f"{s3_bucket}/set.parquet"):
        assert [f.id for f in read(parquet, uri)] == ["part-0.parquet#0.0"]


def test_parquet_in_a_bucket_is_read_by_row_groups(tmp_path: Path, s3_bucket: str) -> None:
    table = pa.table({"image": [picture()] * 5, "text": list("abcde")})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=2)
    write_atomic(f"{s3_bucket}/set/a.parquet", (tmp_path / "a.parquet").read_bytes())
    assert [f.text for f in read(parquet, f"{s3_bucket}/set")] == list("abcde")
    with pytest.raises(SourceError, match="no file"):
        read(parquet, f"{s3_bucket}/set/b.parquet")


def test_other_parquet_is_refused_with_what_it_needs(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="`image`"):
        read(parquet, tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 broken")
    with pytest.raises(SourceError, match="sound Parquet"):
        read(parquet, tmp_path / "b.parquet")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match=r"no \.parquet file"):
        read(parquet, tmp_path / "empty")


def test_files_of_one_name_in_different_folders_keep_their_ids_apart(tmp_path: Path) -> None:
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        pq.write_table(pa.table({"image": [picture()], "text": [folder]}), tmp_path / folder / "0000.parquet")
    found = read(parquet, tmp_path)
    assert [f.id for f in found] == ["test/0000.parquet#0.0", "train/0000.parquet#0.0"]


def test_a_damaged_row_group_is_lost_alone_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pa.table({"image": [picture()] * 6, "text": list("abcdef")})
    pq.write_table(table, path, row_group_size=2, compression="none", use_dictionary=False)
    with pq.ParquetFile(path) as file:
        page = file.metadata.row_group(1).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[page : page + 40] = b"\xff" * 40
    path.write_bytes(data)
    parts = list(parquet(SourceOptions(input=str(path))))
    found = [f for part in parts for f in part.read()]
    assert [part.size for part in parts] == [2, 2, 2]
    assert [f.text for f in found if isinstance(f, Sample)] == list("abef")
    lost = [f for f in found if isinstance(f, Reject)]
    assert [f.id for f in lost] == ["a.parquet#1.0", "a.parquet#1.1"]
    assert "row group 1, row 0: damaged" in lost[0].detail
