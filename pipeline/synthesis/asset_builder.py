"""Makes a folder of assets of what fonts, words and photographs there are."""

import csv
import hashlib
import io
import json
import logging
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from crnn.charset import LATIN94, Charset
from crnn.errors import CharsetError
from pipeline.errors import ConfigError, DataError, StorageError
from pipeline.storage import delete, exists, join, write_atomic
from pipeline.synthesis.assets import (
    CAP_HEIGHT,
    DEFAULT_URI,
    NAME,
    SCHEMA_VERSION,
    WORDS,
    Assets,
    fingerprint,
)
from pipeline.synthesis.atlas import build_atlas
from pipeline.synthesis.debian import WORD_PACKAGES, Package, PackageSet, fetch, font_packages
from pipeline.synthesis.face_reader import Exclusion, RawFace, read_faces
from pipeline.synthesis.font_files import find_fonts
from pipeline.synthesis.textures import photograph_textures, procedural_textures
from pipeline.synthesis.word_tables import word_tables, words_arrow

log = logging.getLogger(__name__)

EXCLUSIONS = "exclusions.tsv"
ABSENT = "package not there"
"""Why a package's fonts are left out: it isn't in Debian's archive, or that doesn't answer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AssetsConfig:
    """What assets are made from.

    Raises:
        ConfigError: A value can't work.
    """

    characters: str = LATIN94.characters
    """What can be drawn. A face must have all letters and digits among them; signs it may lack."""
    fonts: tuple[str, ...] = ()
    """Local folders of fonts, searched at any depth."""
    fonts_at_hand: bool = True
    """Use the system's fonts and those that come with matplotlib, too."""
    packages: PackageSet = "lean"
    """Debian's packages of Latin fonts, fetched once into the cache: lean, 120 MB; all, 860 MB; none."""
    more_packages: tuple[str, ...] = ()
    """More of Debian's packages by name, such as fonts-nanum for Hangul."""
    per_design: int = 4
    """Most faces of one design."""
    textures: int = 512
    """Surfaces made by formulas."""
    photographs: str | None = None
    """Local folder of photographs to cut more surfaces from."""
    language: str = "en"
    """Of the words, as wordfreq names it."""
    words: str | None = None
    """URI of a list of your own words: one a line, or word, tab, weight."""
    seed: int = 7
    """Of the surfaces."""

    def __post_init__(self) -> None:
        if self.per_design < 1 or self.textures < 1:
            raise ConfigError(
                f"per_design and textures are at least 1; {self.per_design} and {self.textures} aren't both."
            )
        try:
            Charset(characters=self.characters)
        except CharsetError as error:
            raise ConfigError(f"characters: {error}") from error
        shaped = [c for c in self.characters if _needs_shaping(c)]
        if shaped:
            raise ConfigError(
                f"characters: {shaped[:20]} are drawn by joining or stacking them, from right to left, or "
                "not at all. Glyphs are set one after the other here; leave these out."
            )
        if not any(c.isalnum() for c in self.characters):
            raise ConfigError("characters: there must be letters or digits among them.")


def build_assets(
    output: str, config: AssetsConfig, progress: Callable[[int, int], None] | None = None
) -> Assets:
    """Makes assets and opens them. The same inputs give the same bytes.

    Args:
        output: URI of the folder. What assets it holds are no more, from the first write on.
        progress: Told of font files read, and of how many there are.

    Raises:
        ConfigError: A folder, language or list can't be used, or too few fonts can.
        StorageError: Something can't be read or written, or packages can't be fetched that the assets there
            are made of.
    """
    cv2.ipp.setUseIPP(False)  # which changes the last bits from one processor to another
    characters = "".join(sorted(config.characters, key=lambda c: not c.isascii()))  # those that kern, first
    packages, absent = fetch(
        [*font_packages(config.packages), *config.more_packages, *_word_packages(config)]
    )
    _spare(output, absent)
    exclusions = [Exclusion(name=name, reason=ABSENT) for name in absent]
    faces, unusable = _read_all(config, characters, packages, progress)
    exclusions += unusable
    atlas = build_atlas(faces, characters, config.per_design)
    exclusions += atlas.exclusions
    tiles = procedural_textures(config.textures, config.seed)
    photographs = 0
    if config.photographs is not None:
        strips, unusable = photograph_textures(config.photographs, config.seed)
        tiles, photographs = np.concatenate([tiles, strips]), len(strips)
        exclusions += unusable
    tables = word_tables(characters, config.language, packages, config.words)
    content = {
        "glyphs.npy": _npy(atlas.glyphs),
        "index.npy": _npy(atlas.index),
        "kerning.npy": _npy(atlas.kerning),
        "textures.npy": _npy(tiles),
        WORDS: words_arrow(tables),
        EXCLUSIONS: _tsv(exclusions),
    }
    record = {
        "schema_version": SCHEMA_VERSION,
        "characters": characters,
        "cap_height": CAP_HEIGHT,
        "config": asdict(config),
        "packages": {package.name: package.version for package in packages},
        "faces": [asdict(face) for face in atlas.faces],
        "exclusions": dict(sorted(Counter(exclusion.reason for exclusion in exclusions).items())),
        "signs_left_out": atlas.signs_left_out,
        "textures": {"formulas": config.textures, "photographs": photographs},
        "words": {
            name: {
                "source": table.source,
                "read": table.read,
                "kept": len(table.weights),
                "rejected": table.rejected,
            }
            for name, table in tables.items()
        },
        "files": {
            name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in content.items()
        },
    }
    record["fingerprint"] = fingerprint(record)
    _write(output, content, record)
    return Assets.open(output)


def _spare(output: str, absent: Sequence[str]) -> None:
    """Refuses to put poorer assets in the place of those that are there."""
    if absent and exists(join(output, NAME)):
        try:
            known = Assets.open(output).record["packages"]
        except DataError:  # damaged, or of another release
            return
        lost = sorted(known.keys() & set(absent))
        if lost:
            named = ", ".join(lost[:5]) + (", …" if len(lost) > 5 else "")
            raise StorageError(
                f"{len(lost)} packages that the assets in {output} are made of can't be fetched ({named}). "
                "They stay as they are: run again when Debian's archive answers, or give another --output."
            )


def default_assets() -> Assets:
    """The assets that jobs use when they are given none: made on first use of the fonts and words that this
    machine has, without a network, in some ten seconds.

    Raises:
        ConfigError: This machine has too few fonts.
        DataError: What is there is damaged.
    """
    if not exists(join(DEFAULT_URI, NAME)):
        log.info("Making %s of this machine's fonts; jobs/assets.py makes far richer ones", DEFAULT_URI)
        build_assets(DEFAULT_URI, AssetsConfig(packages="none", textures=128))
    return Assets.open(DEFAULT_URI)


def _word_packages(config: AssetsConfig) -> Sequence[str]:
    return WORD_PACKAGES if config.language == "en" and config.packages != "none" else ()


def _read_all(
    config: AssetsConfig,
    characters: str,
    packages: Sequence[Package],
    progress: Callable[[int, int], None] | None,
) -> tuple[list[RawFace], list[Exclusion]]:
    files = find_fonts(config.fonts, packages, at_hand=config.fonts_at_hand)
    kerned = sum(c.isascii() for c in characters)
    faces: list[RawFace] = []
    exclusions: list[Exclusion] = []
    for number, file in enumerate(files, start=1):
        for read in read_faces(file, characters, kerned):
            if isinstance(read, RawFace):
                faces.append(read)
            else:
                exclusions.append(read)
        if progress is not None:
            progress(number, len(files))
    if not faces:
        reasons = Counter(exclusion.reason for exclusion in exclusions).most_common()
        lacking = [exclusion for exclusion in exclusions if exclusion.reason == "missing characters"]
        nearest = min(lacking, key=lambda exclusion: len(exclusion.detail), default=None)
        told = f"{nearest.name} comes nearest and lacks {nearest.detail}. " if nearest else ""
        raise ConfigError(
            f"None of {len(files)} font files has all {len(characters)} characters ({dict(reasons)}). {told}"
            "Give folders with fonts that do (--fonts), or ask for fewer characters."
        )
    return faces, exclusions


def _needs_shaping(character: str) -> bool:
    category, direction = unicodedata.category(character), unicodedata.bidirectional(character)
    return category[0] in "MCZ" or direction in ("R", "AL", "RLE", "RLO", "RLI")


def _npy(array: npt.NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _tsv(exclusions: Sequence[Exclusion]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerow(("name", "reason", "detail"))
    writer.writerows(sorted((e.name, e.reason, e.detail) for e in exclusions))
    return text.getvalue().encode()


def _write(output: str, content: Mapping[str, bytes], record: Mapping[str, Any]) -> None:
    delete(join(output, NAME))  # while other files are replaced, these are no assets
    for name, data in content.items():
        write_atomic(join(output, name), data)
    text = json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True)
    write_atomic(join(output, NAME), text.encode() + b"\n")
