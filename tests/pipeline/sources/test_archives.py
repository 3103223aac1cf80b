import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pipeline.sources.archives import parquet, webdataset
from pipeline.sources.samples import Reject, Sample, SourceError, SourceOptions
from pipeline.storage import write_atomic


def read(reader, uri: Path | str, **options) -> list[Sample | Reject]:
    return [f for part in reader(SourceOptions(input=str(uri), **options)) for f in part.read()]


def picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (40, 20), 128).save(buffer, "PNG")
    return buffer.getvalue()


def tar(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


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


def test_webdataset_pairs_members_by_key(tmp_path: Path) -> None:
    members = [
        ("a/000.jpg", picture()),
        ("a/000.txt", "wörd\n".encode()),
        ("a/001.json", json.dumps({"text": "json"}).encode()),
        ("a/001.png", picture()),
        ("a/002.png", picture()),
        ("a/003.txt", b"x"),
        ("a/004.cls", b"4"),
        ("a/004.txt", b"\xff"),
        ("a/005.json", b"[]"),
    ]
    tar(tmp_path / "000.tar", members)
    found = read(webdataset, tmp_path, split="val")
    assert [f.text for f in found if isinstance(f, Sample)] == ["wörd", "json"]
    assert [f.reason for f in found if isinstance(f, Reject)] == [
        "missing_label",
        "missing_image",
        "bad_encoding",
        "malformed_annotation",
    ]
    assert len({f.id for f in found}) == 6


def test_a_tar_file_that_ends_too_soon_keeps_what_came_before(tmp_path: Path) -> None:
    members = [
        (f"{i}.{kind}", picture() if kind == "png" else b"w") for i in range(9) for kind in ("png", "txt")
    ]
    path = tar(tmp_path / "a.tar", members)
    path.write_bytes(path.read_bytes()[:7000])
    found = read(webdataset, path)
    assert len([f for f in found if isinstance(f, Sample)]) >= 2
    assert isinstance(found[-1], Reject)
    assert "broken after" in found[-1].detail
