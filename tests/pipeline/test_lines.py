import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from crnn.preprocess import MAX_BYTES, PreprocessConfig, line_image
from pipeline.errors import StorageError
from pipeline.fetch import FetchConfig
from pipeline.lines import LINE_SCHEMA, read_lines
from pipeline.sandbox import Sandbox, SandboxConfig
from pipeline.schema import LISTING_SCHEMA
from pipeline.storage import list_objects

GEOMETRY = PreprocessConfig()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(GEOMETRY, SandboxConfig()) as sandbox:
        yield sandbox


def png(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.arange(width * height, dtype=np.uint8).reshape(height, width)).save(buffer, "PNG")
    return buffer.getvalue()


def listed(folder: Path, gone: str = "") -> pa.Table:
    rows = [
        {
            "input_id": stored.key,
            "uri": stored.uri,
            "member": "",
            "key": stored.key,
            "etag": stored.etag,
            "size": stored.size,
            "modified": datetime.now(UTC),
            "earlier_rows": 0,
            "gone": stored.key == gone,
        }
        for stored in list_objects(str(folder))
    ]
    return pa.Table.from_pylist(rows, schema=LISTING_SCHEMA)


def test_every_object_becomes_one_row_with_pixels_or_what_became_of_it(
    tmp_path: Path, sandbox: Sandbox
) -> None:
    contents = {
        "a.png": (png(50, 20), None, None),
        "b.txt": (b"text", "quarantined", "not_an_image"),
        "c.png": (png(5_000, 20), "quarantined", "too_wide"),
        "d.png": (b"", "quarantined", "empty"),
        "e.png": (png(40, 32), None, None),
        "f.png": (b"", "quarantined", "too_large"),
        "g.png": (png(50, 20), "deleted", "deleted"),
        "h.png": (png(50, 20), "superseded", "changed"),
        "i.png": (png(50, 20), "deleted", "deleted"),
    }
    for name, (data, _, _) in contents.items():
        (tmp_path / name).write_bytes(data)
    with (tmp_path / "f.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    table = listed(tmp_path, gone="i.png")
    (tmp_path / "g.png").unlink()
    (tmp_path / "h.png").write_bytes(png(51, 20))
    lines = read_lines(table, sandbox, FetchConfig())
    assert lines.schema.equals(LINE_SCHEMA)
    assert lines["key"].to_pylist() == list(contents)
    assert lines["status"].to_pylist() == [status for _, status, _ in contents.values()]
    assert lines["reason"].to_pylist() == [reason for _, _, reason in contents.values()]
    assert lines["width"].to_pylist() == [50, None, None, None, 40, None, None, None, None]
    wanted = line_image(np.arange(40 * 32, dtype=np.uint8).reshape(32, 40), GEOMETRY)
    assert lines["pixels"][4].as_py() == wanted.tobytes()
    assert lines["detail"].is_null().equals(lines["pixels"].is_valid())


def test_a_fault_of_storage_is_no_objects_result(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "a.png").write_bytes(png(50, 20))
    table = listed(tmp_path)
    (tmp_path / "a.png").unlink()
    (tmp_path / "a.png").symlink_to("/proc/self/mem")  # whose first byte is an I/O error
    with pytest.raises(StorageError, match=r"a\.png"):
        read_lines(table, sandbox, FetchConfig())
