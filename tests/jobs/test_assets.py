"""jobs/assets.py: the table it prints, and the exit code that says how it ended."""

import re
import shutil
from pathlib import Path

import pytest

from jobs.assets import main
from jobs.runtime import ExitCode
from pipeline.synthesis.assets import Assets


@pytest.fixture
def fonts(matplotlib_fonts: Path, tmp_path: Path) -> Path:
    """Two sound fonts, one of symbols and one that is broken."""
    folder = tmp_path / "fonts"
    folder.mkdir()
    for name in ("DejaVuSans", "DejaVuSerif", "STIXSizOneSymReg"):
        shutil.copy(matplotlib_fonts / f"{name}.ttf", folder)
    (folder / "broken.ttf").write_bytes(b"broken")
    return folder


def flags(fonts: Path, out: Path, *more: str) -> list[str]:
    few = ["--no-fonts-at-hand", "--packages", "none", "--textures", "2", "--language", "ms"]
    return ["--output", str(out), "--fonts", str(fonts), *few, *more]


def counts(printed: str) -> dict[str, int]:
    """The table's rows."""
    rows = re.findall(r"^ *(\S.*?) {2,}([\d,]+)$", printed, re.MULTILINE)
    return {name: int(count.replace(",", "")) for name, count in rows}


def test_assets_are_made_and_a_table_says_of_what(
    fonts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.tsv").write_text("exit\t2\nopen\t1\n")
    out = tmp_path / "out"
    assert main(flags(fonts, out, "--words", str(tmp_path / "words.tsv"))) == 0
    printed = capsys.readouterr().out
    told, assets = counts(printed), Assets.open(str(out), verify=True)
    assert (told["faces"], told["designs"], told["for validation"], told["characters"]) == (2, 2, 1, 94)
    assert told["excluded"] == 2 == told["missing characters"] + told.get("broken", 0) + told.get("empty", 0)
    assert told["own"] == 2
    assert told["words"] == assets.words.num_rows == told["own"] + told["frequent"] + told["dictionary"]
    assert told["surfaces"] == len(assets.textures) == 2
    assert told["bytes"] == sum(path.stat().st_size for path in out.iterdir() if path.name != "assets.json")
    assert assets.fingerprint in printed
    excluded = Path(re.findall(r"Every excluded file with its reason: (\S+)", printed)[0])
    assert {"fonts/broken.ttf", "fonts/STIXSizOneSymReg.ttf"} == {
        line.partition("\t")[0] for line in excluded.read_text().splitlines()[1:]
    }


def test_fonts_with_accents_can_be_asked_for_them(fonts: Path, tmp_path: Path) -> None:
    assert main(flags(fonts, tmp_path / "out", "--characters", "abcdeféöüABC0123")) == 0
    assets = Assets.open(str(tmp_path / "out"))
    assert assets.index[:, assets.indices("éöü"), 6].all()


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (["--packages", "some"], "lean"),
        (["--font", "x"], "--fonts"),
        (["--fonts", "none-such"], "none-such isn't a folder of fonts"),
        (["--characters", "a한"], "lacks 한"),
        (["--characters", "aa"], "more than once"),
        (["--language", "tlh"], "no words for 'tlh'"),
        (["--words", "none-such.txt"], "There is no word list at none-such.txt"),
        (["--photographs", "none-such"], "none-such isn't a folder of photographs"),
        (["--textures", "0"], "at least 1"),
    ],
)
def test_what_can_not_be_made_is_said_and_nothing_is_written(
    more: list[str], told: str, fonts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags(fonts, tmp_path / "out", *more)) == 2
    assert told in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_an_empty_word_list_is_a_wrong_input(
    fonts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "words.txt").touch()
    assert main(flags(fonts, tmp_path / "out", "--words", str(tmp_path / "words.txt"))) == 2
    assert "is empty. Give a list with a word a line" in capsys.readouterr().err


def test_a_folder_that_can_not_be_written_is_a_failure(
    fonts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("a file in its place")
    assert main(flags(fonts, tmp_path / "out")) == 1
    assert str(tmp_path / "out") in capsys.readouterr().err


def test_packages_that_can_not_be_fetched_leave_the_job_incomplete(
    fonts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert main(flags(fonts, tmp_path / "out", "--more-packages", "fonts-x")) == ExitCode.INCOMPLETE
    assert "1 packages that were asked for couldn't be fetched" in capsys.readouterr().out
    assert Assets.open(str(tmp_path / "out")).faces
