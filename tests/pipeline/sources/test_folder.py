import io
from pathlib import Path

import pytest
from PIL import Image

from pipeline.sources.files import Entry
from pipeline.sources.folder import folder
from pipeline.sources.samples import Reject, SourceOptions


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("word.jpg", "word"),
        ("word_17.png", "word"),
        ("17_word.PNG", "word"),
        ("a_b.png", "a_b"),
        ("2024.png", "2024"),
        ("über/x.y.png", "x.y"),
    ],
)
def test_the_label_is_the_name_without_its_number(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    buffer = io.BytesIO()
    Image.new("L", (40, 20)).save(buffer, "PNG")
    path.write_bytes(buffer.getvalue())
    (part,) = folder(SourceOptions(input=str(tmp_path)))
    (entry,) = part.entries
    assert isinstance(entry, Entry)
    assert (entry.text, entry.id) == (text, name)
    (sample,) = part.read()
    assert sample.text == text


def test_other_files_are_rejects(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    (part,) = folder(SourceOptions(input=str(tmp_path)))
    assert isinstance(part.entries[0], Reject)
