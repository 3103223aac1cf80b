"""Where font files are looked for, and what is known of each before it is opened."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import ConfigError
from pipeline.synthesis.assets import Kind
from pipeline.synthesis.debian import Package

SUFFIXES = (".ttf", ".otf", ".ttc", ".otc")


@dataclass(frozen=True, kw_only=True, slots=True)
class FontFile:
    """A file that should hold a font."""

    path: Path
    """Where it lies."""
    package: str
    """Debian's package, or the name of the folder that was searched."""
    version: str = ""
    """Of the package."""
    licence: str = ""
    """Of the package; empty: the file itself must say."""
    kind: Kind | None = None
    """What the package's fonts are made for, where all are for the same."""

    @property
    def name(self) -> str:
        """Package and file, as people are told of it."""
        return f"{self.package}/{self.path.name}"


def find_fonts(folders: Sequence[str], packages: Sequence[Package], *, at_hand: bool) -> list[FontFile]:
    """Font files by package and name, each path once.

    Args:
        folders: Local folders to search, at any depth.
        packages: Unpacked packages to search.
        at_hand: Search the system's font folders too, and matplotlib's own.

    Raises:
        ConfigError: A folder isn't one.
    """
    found: list[FontFile] = []
    for given in folders:
        folder = Path(given).expanduser()
        if not folder.is_dir():
            raise ConfigError(f"{given} isn't a folder of fonts on this machine. Check --fonts.")
        found += [FontFile(path=path, package=folder.resolve().name) for path in font_paths(folder)]
    for package in packages:
        found += [
            FontFile(
                path=path,
                package=package.name,
                version=package.version,
                licence=package.licence,
                kind=package.kind,
            )
            for path in font_paths(package.folder)
        ]
    for name, folder in (*_system_folders(), *_matplotlib_folders()) if at_hand else ():
        found += [FontFile(path=path, package=name) for path in font_paths(folder)]
    once: dict[Path, FontFile] = {}
    for file in found:
        once.setdefault(file.path.resolve(), file)
    return sorted(once.values(), key=lambda file: (file.package, file.path.name, str(file.path)))


def font_paths(folder: Path) -> Iterator[Path]:
    """Paths of font files at any depth of a folder, by what they are called."""
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root, name)
            if path.suffix.lower() in SUFFIXES and path.is_file():  # packages hold links to what isn't here
                yield path


def _system_folders() -> Iterator[tuple[str, Path]]:
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    for name in (
        "/usr/share/fonts",
        "/usr/local/share/fonts",
        f"{data}/fonts",
        "~/.fonts",
        "/System/Library/Fonts",
        "/Library/Fonts",
        "~/Library/Fonts",
    ):
        folder = Path(name).expanduser()
        if folder.is_dir():
            yield "system", folder


def _matplotlib_folders() -> Iterator[tuple[str, Path]]:
    spec = find_spec("matplotlib")  # found, not imported: that takes a second
    for place in spec.submodule_search_locations or () if spec else ():
        yield "matplotlib", Path(place) / "mpl-data" / "fonts" / "ttf"
