"""pipeline.synthesis.font_files: every font file once, wherever it lies."""

from pathlib import Path

import pytest

from pipeline.errors import ConfigError
from pipeline.synthesis.debian import Package
from pipeline.synthesis.font_files import FontFile, find_fonts


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_folders_are_searched_at_any_depth_for_fonts_alone(tmp_path: Path) -> None:
    fonts = [touch(tmp_path / "mine" / name) for name in ("b.ttf", "deep/er/a.OTF", "deep/c.ttc", "d.otc")]
    for name in ("e.pfb", "f.woff2", "ttf", "deep/readme.txt"):
        touch(tmp_path / "mine" / name)
    (tmp_path / "mine" / "gone.ttf").symlink_to(tmp_path / "nowhere.ttf")
    (tmp_path / "mine" / "folder.ttf").mkdir()
    found = find_fonts([str(tmp_path / "mine")], [], at_hand=False)
    assert [file.name for file in found] == ["mine/a.OTF", "mine/b.ttf", "mine/c.ttc", "mine/d.otc"]
    assert {file.path for file in found} == set(fonts)


def test_a_file_that_is_found_twice_is_read_once(tmp_path: Path) -> None:
    target = touch(tmp_path / "mine" / "deep" / "a.ttf")
    (tmp_path / "mine" / "again.ttf").symlink_to(target)
    found = find_fonts([str(tmp_path / "mine"), str(target.parent)], [], at_hand=False)
    assert len(found) == 1


def test_files_of_the_same_name_are_two_and_the_order_of_folders_does_not_matter(tmp_path: Path) -> None:
    folders = [str(touch(tmp_path / name / "a.ttf").parent) for name in ("x", "y")]
    found = find_fonts(folders, [], at_hand=False)
    assert [file.name for file in found] == ["x/a.ttf", "y/a.ttf"]
    assert find_fonts(folders[::-1], [], at_hand=False) == found


def test_a_packages_files_carry_what_is_known_of_it(tmp_path: Path) -> None:
    path = touch(tmp_path / "usr" / "share" / "fonts" / "a.ttf")
    package = Package(name="fonts-a", version="1:2", folder=tmp_path, licence="OFL-1.1", kind="handwriting")
    known = FontFile(path=path, package="fonts-a", version="1:2", licence="OFL-1.1", kind="handwriting")
    assert find_fonts([], [package], at_hand=False) == [known]


def test_fonts_at_hand_are_the_persons_own_and_matplotlibs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, matplotlib_fonts: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    touch(tmp_path / "fonts" / "mine.ttf")
    found = {file.name: file.path for file in find_fonts([], [], at_hand=True)}
    assert found["system/mine.ttf"] == tmp_path / "fonts" / "mine.ttf"
    assert found["matplotlib/DejaVuSans.ttf"].samefile(matplotlib_fonts / "DejaVuSans.ttf")
    assert find_fonts([], [], at_hand=False) == []


def test_what_is_no_folder_is_told(tmp_path: Path) -> None:
    for wrong in (tmp_path / "none", touch(tmp_path / "a.ttf")):
        with pytest.raises(ConfigError, match=rf"{wrong} isn't a folder of fonts .*--fonts"):
            find_fonts([str(wrong)], [], at_hand=False)
