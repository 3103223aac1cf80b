"""What synthesis draws from: glyphs, kerning, textures and words, made once and mapped by all of a node.

Shapes: F faces, C characters, K characters that kern (the first of them), T textures, H, W pixels.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.errors import ConfigError, DataError, ObjectNotFoundError
from pipeline.storage import absolute, join, read_bytes
from pipeline.synthesis.node_cache import node_folder
from pipeline.synthesis.split import Split

NAME = "assets.json"
DEFAULT_URI = "out/assets"
"""Where jobs look for assets when nothing is said."""
SCHEMA_VERSION = 1
CAP_HEIGHT = 30
"""Height in pixels of a capital H in the atlas."""
ARRAYS = ("glyphs", "index", "kerning", "textures")
WORDS = "words.arrow"

Kind = Literal["sign", "text", "display", "handwriting"]
"""sign: sans serif; text: with serifs, or as typewritten; display: drawn to be noticed."""
Case = Literal["both", "upper", "lower"]
ORDINARY: tuple[Kind, ...] = ("sign", "text")

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Face:
    """One font: a weight and style of a family."""

    name: str
    """Family and style, such as DejaVu Sans Bold."""
    family: str
    """As the file says."""
    design: str
    """Faces that are drawn alike share one, whatever families they are in; a design has one split."""
    kind: Kind
    """What it is made for."""
    split: Split
    """Of its design."""
    case: Case
    """upper: its small letters are drawn as capitals, so what it writes must be upper-cased first; lower: the
    other way round; both: as is."""
    file: str
    """Name of the file, with #n for the n-th font of a collection."""
    sha256: str
    """Of the file."""
    package: str
    """Debian's package, or the folder it was found in."""
    version: str
    """Of the package; empty where not known."""
    licence: str
    """Short name; "unknown" where neither the package nor the file says."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Assets:
    """An opened folder of assets. The arrays are read-only maps of files: processes of a node share them."""

    uri: str
    """Folder that it was opened from."""
    fingerprint: str
    """32 hex digits that name the content."""
    characters: str
    """What can be written: character c of it stands at index c below. The space is not among them."""
    cap_height: int
    """Height in pixels of a capital H."""
    faces: tuple[Face, ...]
    """F of them; all hold every letter and digit among the characters, not all hold every sign."""
    glyphs: Bytes
    """Grey levels of all glyphs one after the other, row by row."""
    index: Ints
    """F × C × 7: offset in glyphs, width, height, left, top (from pen and baseline, pixels, downwards),
    advance (1/64 px), present (1, or 0 where the face lacks the character)."""
    kerning: npt.NDArray[np.int8]
    """F × K × K: what the pair of characters (left, right) adds to the left one's advance, 1/16 px."""
    textures: Bytes
    """T × H × W grey levels."""
    words: pa.Table
    """Columns table, split, word, weight; mapped too."""
    record: dict[str, Any]
    """assets.json as it stands: licences, config, exclusions, checksums."""

    @classmethod
    def open(cls, uri: str, *, verify: bool = False) -> "Assets":
        """Maps a folder of assets; one elsewhere is copied once to a cache of this node's, and verified.

        Args:
            uri: Folder with an assets.json.
            verify: Whether to compare the files' checksums too, about a millisecond a megabyte.

        Raises:
            DataError: There are no finished assets, or they are damaged or of another version.
            StorageError: They can't be read.
        """
        record = _read_record(uri)
        folder = node_folder(uri, record["fingerprint"], record["files"])
        for name, file in record["files"].items():
            _check(folder / name, file["bytes"], file["sha256"] if verify else None)
        try:
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
            words = pa.ipc.open_file(pa.memory_map(str(folder / WORDS))).read_all()
            faces = tuple(Face(**face) for face in record["faces"])
        except (OSError, ValueError, TypeError, pa.ArrowException) as error:
            raise DataError(f"{uri} is damaged ({error}). Make the assets again.") from error
        return cls(
            uri=absolute(uri),
            fingerprint=record["fingerprint"],
            characters=record["characters"],
            cap_height=record["cap_height"],
            faces=faces,
            words=words,
            record=record,
            **arrays,
        )

    def face_ids(self, split: Split | None, *, ordinary: float = 0.7) -> tuple[Ints, Floats]:
        """The faces of a split, and how probable each is: a design is drawn first, then one of its faces.

        Args:
            split: Whose designs; None for all.
            ordinary: Share of draws from the designs for signs and text alone; the rest is from all.

        Raises:
            ConfigError: `ordinary` is no share.
        """
        if not 0 <= ordinary <= 1:
            raise ConfigError(f"ordinary is a share of the draws, 0 to 1; {ordinary} isn't.")
        ids = [i for i, face in enumerate(self.faces) if split in (None, face.split)]
        plain = [i for i in ids if self.faces[i].kind in ORDINARY]
        probability = np.zeros(len(self.faces))
        for some, share in ((plain, ordinary if plain else 0.0), (ids, 1 - ordinary if plain else 1.0)):
            members: dict[str, list[int]] = {}
            for i in some:
                members.setdefault(self.faces[i].design, []).append(i)
            for same in members.values():
                probability[same] += share / len(members) / len(same)
        return np.array(ids, np.int32), probability[ids] / probability[ids].sum()

    def indices(self, text: str) -> list[int]:
        """The characters' indices.

        Raises:
            ConfigError: Some aren't in these assets; they are named.
        """
        found = [self.characters.find(c) for c in text]
        if min(found, default=0) < 0:
            missing = sorted({c for c, i in zip(text, found, strict=True) if i < 0})
            raise ConfigError(
                f"The assets {self.uri} have no glyphs for {missing}. Build assets with these characters "
                "(jobs/assets.py --characters …) from fonts that have them, or take them out of the charset."
            )
        return found


def fingerprint(record: dict[str, Any]) -> str:
    """32 hex digits that name what can be drawn: from the files' checksums, the characters and the faces."""
    named = {name: record[name] for name in ("schema_version", "characters", "cap_height", "faces")}
    named["files"] = {name: file["sha256"] for name, file in record["files"].items()}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:32]


def _read_record(uri: str) -> dict[str, Any]:
    where = join(uri, NAME)
    try:
        record: dict[str, Any] = json.loads(read_bytes(where))
        if record["schema_version"] != SCHEMA_VERSION:
            raise DataError(
                f"{where} is of version {record['schema_version']}; this code reads {SCHEMA_VERSION}. "
                "Make the assets again (jobs/assets.py)."
            )
        if fingerprint(record) != record["fingerprint"]:
            raise DataError(f"{where} was changed after it was written. Make the assets again.")
    except ObjectNotFoundError as error:
        raise DataError(
            f"{uri} holds no finished assets: it has no {NAME}. Check the path, or make them: "
            f"python jobs/assets.py --output {uri}"
        ) from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{where} is damaged ({error!r}). Make the assets again.") from error
    return record


def _check(path: Path, size: int, sha256: str | None) -> None:
    if not path.is_file() or path.stat().st_size != size:
        found = path.stat().st_size if path.is_file() else "no"
        raise DataError(f"{path} has {found} bytes; assets.json says {size}. Make the assets again.")
    if sha256 is not None and hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise DataError(f"{path} has another checksum than assets.json says. Make the assets again.")
