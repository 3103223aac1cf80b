"""Debian's packages of fonts and word lists, unpacked into a cache without root: nothing is installed."""

import csv
import fcntl
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pipeline.errors import StorageError
from pipeline.synthesis.assets import Kind
from pipeline.synthesis.node_cache import cache_folder

log = logging.getLogger(__name__)

PackageSet = Literal["lean", "all", "none"]
WORD_PACKAGES = ("wamerican-large", "wbritish-large")
_AT_ONCE = 20
"""Packages that one command fetches: what fails takes no more than these with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Package:
    """An unpacked package."""

    name: str
    """As Debian's."""
    version: str
    """As Debian's."""
    folder: Path
    """Where its files lie, from the root: usr/share/…"""
    licence: str
    """Of its fonts; empty where it isn't known, or the files differ."""
    kind: Kind | None
    """What its fonts are made for, where all of them are for the same."""


def font_packages(which: PackageSet) -> list[str]:
    """Names of the packages with Latin fonts: lean, those under 8 MB; all, 640 MB more; none."""
    return [row["package"] for row in _listed() if which == "all" or row["set"] == which]


def fetch(names: Sequence[str]) -> tuple[list[Package], list[str]]:
    """Unpacked packages from the cache, and those that weren't there from Debian's mirror.

    Returns:
        The packages by name, and the names that couldn't be had; why is logged.

    Raises:
        StorageError: The cache can't be written.
    """
    home = cache_folder() / "debian"
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be fetching the same ones
            missing = [name for name in names if not _unpacked(home, name)]
            if missing:
                _download(home, missing)
    except OSError as error:
        raise StorageError(
            f"Can't keep packages in {home}: {error.strerror or error}. Free some space, or set "
            "XDG_CACHE_HOME to another disk."
        ) from error
    known = {row["package"]: row for row in _listed()}
    packages, absent = [], []
    for name in sorted(set(names)):
        folders = _unpacked(home, name)
        if not folders:
            absent.append(name)
            continue
        row = known.get(name, {})
        kind: Kind | None = row.get("kind") or None  # type: ignore[assignment]  # a column of Kinds, tested
        packages.append(
            Package(
                name=name,
                version=unquote(folders[-1].name.partition("_")[2]),
                folder=folders[-1],
                licence=row.get("licence", ""),
                kind=kind,
            )
        )
    return packages, absent


def _listed() -> list[dict[str, str]]:
    text = (files("pipeline.synthesis") / "data" / "font-packages.tsv").read_text("utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def _unpacked(home: Path, name: str) -> list[Path]:
    return sorted(home.glob(f"{name}_*"))


def _download(home: Path, names: Sequence[str]) -> None:
    lacking = [tool for tool in ("apt-get", "dpkg") if shutil.which(tool) is None]
    if lacking:
        log.warning("No %s on this machine: %d packages can't be had from Debian", lacking[0], len(names))
        return
    log.info("Fetching %d of Debian's packages into %s", len(names), home)
    with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=home) as folder:
        work = Path(folder)
        lists = ["-o", f"Dir::State={work}/state", "-o", f"Dir::Cache={work}/cache"]
        (work / "state" / "lists" / "partial").mkdir(parents=True)
        (work / "cache" / "archives" / "partial").mkdir(parents=True)
        options = []
        if not _run(["apt-get", "download", "--print-uris", names[0]], work):
            # Fresh containers have no package lists, and only root may update the system's: fetch our own.
            options = lists
            if not _run(["apt-get", "update", *options], work):
                log.warning("Debian's mirror can't be reached: %d packages can't be had", len(names))
                return
        for some in _in_groups(names, _AT_ONCE):
            if not _run(["apt-get", "download", *options, *some], work):
                for name in some:  # one that isn't known stops all
                    if not _run(["apt-get", "download", *options, name], work):
                        log.warning("Debian's package %s can't be had", name)
            for archive in sorted(work.glob("*.deb")):
                unfinished = work / "unpacked"
                if _run(["dpkg", "-x", archive.name, unfinished.name], work):
                    name, version = archive.name.removesuffix(".deb").split("_")[:2]
                    unfinished.rename(home / f"{name}_{version}")
                else:
                    log.warning("%s can't be unpacked; is the disk full?", archive.name)
                    shutil.rmtree(unfinished, ignore_errors=True)
                archive.unlink()


def _in_groups(names: Sequence[str], size: int) -> Iterable[Sequence[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))


def _run(command: Sequence[str], folder: Path) -> bool:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        log.debug("%s: %s", " ".join(command), done.stderr.strip())
    return done.returncode == 0
