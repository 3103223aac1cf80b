"""pipeline.synthesis.debian, with commands of our own in the place of apt-get and dpkg: no network."""

import csv
import logging
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from typing import get_args

import pytest

from pipeline.errors import StorageError
from pipeline.synthesis.assets import Kind
from pipeline.synthesis.debian import WORD_PACKAGES, fetch, font_packages

APT = r"""#!/bin/sh
echo "$@" >> "$HERE/calls"
[ -e "$HERE/offline" ] && exit 100
case "$*" in *--print-uris*) [ ! -e "$HERE/no-lists" ]; exit;; update*) exit 0;; esac
shift
while [ "$1" = -o ]; do shift 2; done
for name; do case "$name" in *none*) exit 100;; esac; done  # one that isn't known stops all, as with apt-get
for name; do echo "$name" > "${name}_1%3a2.0-1_all.deb"; done
"""
DPKG = r"""#!/bin/sh
case "$(cat "$2")" in *broken*) exit 2;; esac
mkdir -p "$3/usr/share/fonts" && cp "$2" "$3/usr/share/fonts/a.ttf"
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose files say how the commands behave; `cache` in it is where packages are kept."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, text in (("apt-get", APT), ("dpkg", DPKG)):
        (commands / name).write_text(text)
        (commands / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def calls(here: Path) -> list[str]:
    """What apt-get was asked, without options."""
    path = here / "calls"
    return path.read_text().splitlines() if path.exists() else []


def listed() -> list[Mapping[str, str]]:
    text = (files("pipeline.synthesis") / "data" / "font-packages.tsv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def left_behind(here: Path) -> list[Path]:
    return list(here.rglob(".unfinished-*"))


def test_packages_are_unpacked_into_the_cache_with_version_and_licence(here: Path) -> None:
    packages, absent = fetch(["fonts-adf-baskervald", "wamerican-large"])
    assert absent == []
    font, words = packages
    assert (font.name, font.version, font.licence) == (
        "fonts-adf-baskervald",
        "1:2.0-1",
        "GPL-2+ with font exception",
    )
    assert (words.name, words.licence, words.kind) == ("wamerican-large", "", None)
    assert font.folder.is_relative_to(here / "cache")
    assert (font.folder / "usr/share/fonts/a.ttf").is_file()
    assert not left_behind(here)


def test_what_is_in_the_cache_is_not_asked_for_again(here: Path) -> None:
    first = fetch(["fonts-a", "fonts-b"])
    (here / "calls").unlink()
    assert fetch(["fonts-b", "fonts-a", "fonts-a"]) == first
    assert calls(here) == []


def test_processes_that_want_the_same_packages_fetch_them_once(here: Path) -> None:
    names = [f"fonts-{letter}" for letter in "abcdef"]
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(fetch, [names] * 3))
    assert results == [results[0]] * 3
    assert ([package.name for package in results[0][0]], results[0][1]) == (names, [])
    assert len([call for call in calls(here) if "--print-uris" not in call]) == 1


def test_one_unknown_package_does_not_take_the_others_with_it(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    packages, absent = fetch(["fonts-a", "fonts-none", "fonts-b"])
    assert ([package.name for package in packages], absent) == (["fonts-a", "fonts-b"], ["fonts-none"])
    assert "Debian's package fonts-none can't be had" in caplog.text


def test_an_archive_that_can_not_be_unpacked_is_absent_and_tried_again(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert fetch(["fonts-broken"]) == ([], ["fonts-broken"])
    assert "can't be unpacked" in caplog.text
    assert not left_behind(here)
    before = len(calls(here))
    fetch(["fonts-broken"])
    assert len(calls(here)) > before


def test_without_a_network_all_are_absent_and_it_is_said(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (here / "offline").touch()
    assert fetch(["fonts-b", "fonts-a"]) == ([], ["fonts-a", "fonts-b"])
    assert "Debian's mirror can't be reached: 2 packages can't be had" in caplog.text
    assert not any("download" in call and "--print-uris" not in call for call in calls(here))


def test_offline_what_was_fetched_before_is_still_used(here: Path) -> None:
    fetch(["fonts-a"])
    (here / "offline").touch()
    packages, absent = fetch(["fonts-a", "fonts-b"])
    assert ([package.name for package in packages], absent) == (["fonts-a"], ["fonts-b"])


@pytest.mark.parametrize("tool", ["apt-get", "dpkg"])
def test_a_machine_that_is_not_debian_is_told_what_it_lacks(
    here: Path, tool: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (here / "bin" / tool).unlink()
    monkeypatch.setenv("PATH", str(here / "bin"))
    assert fetch(["fonts-a"]) == ([], ["fonts-a"])
    assert f"No {tool} on this machine: 1 packages can't be had from Debian" in caplog.text


def test_a_machine_without_package_lists_fetches_its_own_without_root(here: Path) -> None:
    (here / "no-lists").touch()
    packages, _ = fetch(["fonts-a"])
    assert packages
    update = next(call for call in calls(here) if call.startswith("update"))
    download = next(call for call in calls(here) if call.endswith(" fonts-a") and "--print" not in call)
    for call in (update, download):
        assert f"Dir::State={here / 'cache'}" in call
    assert not left_behind(here)


def test_many_packages_are_fetched_in_groups(here: Path) -> None:
    names = [f"fonts-{i:02d}" for i in range(45)]
    packages, absent = fetch(names)
    assert ([package.name for package in packages], absent) == (names, [])
    downloads = [call for call in calls(here) if "--print-uris" not in call]
    assert [len(call.split()) - 1 for call in downloads] == [20, 20, 5]


def test_a_cache_that_can_not_be_written_is_told(here: Path) -> None:
    (here / "cache").write_text("a file in its place")
    with pytest.raises(StorageError, match="XDG_CACHE_HOME"):
        fetch(["fonts-a"])


def test_nothing_is_asked_for_when_nothing_is_wanted(here: Path) -> None:
    assert fetch([]) == ([], [])
    assert calls(here) == []


def test_the_lists_of_packages_hold_each_once_with_a_kind_that_there_is() -> None:
    rows = listed()
    assert len({row["package"] for row in rows}) == len(rows)
    assert {row["kind"] for row in rows} <= {"", *get_args(Kind)}
    assert {row["set"] for row in rows} == {"lean", "all"}


def test_all_packages_are_the_lean_ones_and_more() -> None:
    lean, everything = font_packages("lean"), font_packages("all")
    assert set(lean) < set(everything) == {row["package"] for row in listed()}
    assert font_packages("none") == []
    assert not set(WORD_PACKAGES) & set(everything)


def test_reasons_of_the_commands_are_logged_for_whoever_looks(
    here: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="pipeline.synthesis.debian")
    fetch(["fonts-none"])
    assert "apt-get download fonts-none: " in caplog.text
