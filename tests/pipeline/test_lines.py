import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crnn.preprocess import MAX_BYTES, PreprocessConfig, line_image
from pipeline.errors import StorageError
from pipeline.fetch import FetchConfig
from pipeline.lines import LINE_SCHEMA, read_lines
from pipeline.listing import freeze

GEOMETRY = PreprocessConfig()


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width)).save(buffer, "PNG")
    return buffer.getvalue()


def test_every_object_becomes_one_row_with_pixels_or_a_reason(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(50, 20))
    (folder / "b.txt").write_bytes(b"text")
    (folder / "c.png").write_bytes(png(5_000, 20))
    (folder / "d.png").write_bytes(b"")
    (folder / "e.png").write_bytes(png(40, 32))
    with (folder / "f.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    (folder / "g.png").write_bytes(png(50, 20))
    listing = freeze(str(folder), str(tmp_path / "run"), include="*", limit=None, shard_rows=99)
    (folder / "g.png").unlink()
    lines = read_lines(listing.shard(0), GEOMETRY, FetchConfig())
    assert lines.schema.equals(LINE_SCHEMA)
    assert lines["reason"].to_pylist() == [
        None,
        "not_an_image",
        "too_wide",
        "empty",
        None,
        "too_large",
        "deleted",
    ]
    assert lines["width"].to_pylist() == [50, None, 5_000, None, 40, None, None]
    assert lines["height"].to_pylist() == [20, None, 20, None, 32, None, None]
    wanted = line_image(np.arange(40 * 32, dtype=np.uint8).reshape(32, 40), GEOMETRY)
    assert lines["pixels"][4].as_py() == wanted.tobytes()
    assert lines["detail"].is_null().equals(lines["pixels"].is_valid())


def test_a_fault_of_storage_is_no_objects_result(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.png").write_bytes(png(50, 20))
    listing = freeze(str(folder), str(tmp_path / "run"), include="*", limit=None, shard_rows=99)
    (folder / "a.png").unlink()
    (folder / "a.png").symlink_to("a.png")
    with pytest.raises(StorageError, match=r"a\.png"):
        read_lines(listing.shard(0), GEOMETRY, FetchConfig())
