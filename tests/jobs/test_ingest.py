import io
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from jobs.ingest import FormatName, main
from pipeline.manifest import Manifest
from pipeline.sources.catalogue import FORMATS
from pipeline.storage import write_atomic


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three sound words and one broken one."""
    images = tmp_path / "images"
    images.mkdir()
    for name in ("one", "two", "three"):
        buffer = io.BytesIO()
        Image.new("L", (40, 20), 128).save(buffer, "PNG")
        (images / f"{name}.png").write_bytes(buffer.getvalue())
    (images / "four.png").write_bytes(b"broken")
    return images


def test_the_command_line_offers_exactly_the_formats_there_are() -> None:
    assert set(get_args(FormatName)) == set(FORMATS)


def test_a_folder_becomes_a_data_set_and_too_many_rejects_are_said(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    assert main(["folder", "--input", str(folder), "--output", out]) == 3
    printed = capsys.readouterr().out
    assert "not_an_image" in printed
    assert "rejects.parquet" in printed
    assert Manifest.read(out).rows == 3
    assert main(["folder", "--input", str(folder), "--output", out, "--max-rejected", "0.25"]) == 0
    assert "was there already" in capsys.readouterr().out


def test_archives_in_a_bucket_are_read_and_written_there(
    folder: Path, s3_bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folder.iterdir():
        write_atomic(f"{s3_bucket}/raw/{path.name}", path.read_bytes())
    arguments = ["folder", "--input", f"{s3_bucket}/raw", "--output", f"{s3_bucket}/set"]
    assert main([*arguments, "--max-rejected", "1"]) == 0
    assert Manifest.read(f"{s3_bucket}/set").rows == 3


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["floder", "--input", "x", "--output", "y"], 2, "folder"),
        (["svt", "--input", "none.xml", "--output", "y"], 1, "There is no annotation file"),
        (["svt", "--input", "x", "--output", "y", "--encoding", "none-such"], 2, "encoding"),
        (["svt", "--input", "x", "--output", "y", "--crops", "{:z}"], 2, "crops"),
        (["svt", "--input", "x", "--output", "y", "--suffix", "jpg"], 2, "suffix"),
    ],
)
def test_what_can_not_be_done_is_said_and_how_to_do_it(
    arguments: list[str], code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == code
    assert told in capsys.readouterr().err
