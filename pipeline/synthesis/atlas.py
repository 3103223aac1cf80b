"""Which of the faces that were read are kept, and their arrays: glyphs, index and kerning."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigError
from pipeline.synthesis.assets import ORDINARY, Bytes, Face, Ints, Kind
from pipeline.synthesis.cases import find_cases
from pipeline.synthesis.designs import group_designs
from pipeline.synthesis.face_reader import Exclusion, RawFace
from pipeline.synthesis.legibility import legibility
from pipeline.synthesis.shapes import face_shapes, judged
from pipeline.synthesis.signs import odd_signs
from pipeline.synthesis.split import Split, rank_of, split_of

LEGIBLE, LEGIBLE_HANDWRITING = 0.6, 0.3
"""Shares of recognised characters below which a face is excluded: what remains of those below are dingbats,
runes and mazes. Handwriting differs from print and is read by people all the same."""
RIDDLES = frozenset({"Code Of Life BRK", "Loopy BRK", "Weaver BRK"})
"""Families whose letters a classifier tells apart and a person doesn't: found by looking at sheets."""
PLAIN = 0.9
"""Share below which a face is for display, whatever it says of itself."""
_NAMES: tuple[tuple[Kind, str], ...] = (
    ("handwriting", r"script|hand(?!el)|cursiv|brush|calligra|chancery|schreib"),
    ("text", r"serif(?<!sans serif)|roman|mono|typewriter|courier|slab|antiqua|times"),
)
_PANOSE_HANDWRITING, _PANOSE_DISPLAY = 3, 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Atlas:
    """The faces that are kept, with their arrays as in `Assets`, and those that aren't."""

    faces: tuple[Face, ...]
    glyphs: Bytes
    index: Ints
    kerning: npt.NDArray[np.int8]
    exclusions: tuple[Exclusion, ...]
    signs_left_out: int
    """Glyphs of signs that the kept faces have, and that aren't used."""


def build_atlas(raw: Sequence[RawFace], characters: str, per_design: int) -> Atlas:
    """Judges faces, groups them by design and lays out what is kept.

    Args:
        raw: As read, in the order in which one of two equal faces is preferred.
        characters: C of them, as the faces were read with.
        per_design: Most faces of a design, spread from its lightest to its boldest.

    Raises:
        ConfigError: Too few faces remain to split them into training and validation.
    """
    exclusions: list[Exclusion] = []
    single = _without_twins(raw, exclusions)
    indices = judged(characters)
    compared = "".join(characters[i] for i in indices)
    shapes = np.stack([face_shapes(face, indices) for face in single])
    scores = legibility(shapes, compared, [face.family for face in single])
    kinds = [_kind(face, score) for face, score in zip(single, scores, strict=True)]
    legible = []
    for i, face in enumerate(single):
        least = LEGIBLE_HANDWRITING if kinds[i] == "handwriting" else LEGIBLE
        if face.family in RIDDLES:
            detail = f"{face.family}: people can't read it, though a classifier can"
        elif scores[i] < least:
            detail = f"{scores[i]:.0%} of its letters and digits are recognised"
        else:
            legible.append(i)
            continue
        exclusions.append(Exclusion(name=face.name, reason="not legible", detail=detail))
    designs = group_designs(shapes[legible], [single[i].family for i in legible])
    design_of = dict(zip(legible, designs, strict=True))
    kept = _spread(single, design_of, per_design, exclusions)
    cases = dict(zip(kept, find_cases(shapes[kept], compared), strict=True))
    splits = _splits({design_of[i]: kinds[i] for i in kept})
    faces = tuple(
        Face(
            name=f"{single[i].family} {single[i].style}".strip(),
            family=single[i].family,
            design=design_of[i],
            kind=kinds[i],
            split=splits[design_of[i]],
            case=cases[i],
            file=single[i].name.partition("/")[2],
            sha256=single[i].sha256,
            package=single[i].file.package,
            version=single[i].file.version,
            licence=single[i].licence,
        )
        for i in kept
    )
    chosen = [single[i] for i in kept]
    left_out = odd_signs(chosen, [face.kind in ORDINARY for face in faces], characters)
    signs = [i for i, c in enumerate(characters) if not c.isalnum()]
    # The signs of display faces are jokes as often as not.
    left_out[np.ix_([face.kind == "display" for face in faces], signs)] = True
    there = sum(int(face.boxes[:, 6].sum()) for face in chosen)
    glyphs, index = _pack(chosen, left_out)
    return Atlas(
        faces=faces,
        glyphs=glyphs,
        index=index,
        kerning=np.stack([face.kerning for face in chosen]),
        exclusions=tuple(exclusions),
        signs_left_out=there - int(index[:, :, 6].sum()),
    )


def _without_twins(raw: Sequence[RawFace], exclusions: list[Exclusion]) -> list[RawFace]:
    first: dict[bytes, RawFace] = {}
    for face in raw:
        twin = first.setdefault(face.shape_hash, face)
        if twin is not face:
            exclusions.append(Exclusion(name=face.name, reason="duplicate", detail=f"of {twin.name}"))
    return list(first.values())


def _kind(face: RawFace, score: float) -> Kind:
    if face.file.kind is not None:
        return face.file.kind
    name = f"{face.family} {face.style}"
    named: Kind | None = next((kind for kind, sign in _NAMES if re.search(sign, name, re.IGNORECASE)), None)
    if face.panose[0] == _PANOSE_HANDWRITING or named == "handwriting":
        return "handwriting"
    if face.panose[0] == _PANOSE_DISPLAY or score < PLAIN:
        return "display"
    serifs = 2 <= face.panose[1] <= 10 and face.panose[0] == 2
    return "text" if named == "text" or serifs or face.monospaced else "sign"


def _spread(
    faces: Sequence[RawFace], design_of: dict[int, str], most: int, exclusions: list[Exclusion]
) -> list[int]:
    """At most so many faces a design, evenly spaced by how much ink they take; in the given order."""
    members: dict[str, list[int]] = {}
    for i, design in design_of.items():
        members.setdefault(design, []).append(i)
    kept: list[int] = []
    for design, some in members.items():
        ranked = sorted(some, key=lambda i: (float(faces[i].glyphs.sum(dtype=np.int64)), faces[i].name))
        places = np.linspace(0, len(ranked) - 1, min(most, len(ranked)))
        chosen = {ranked[round(place)] for place in places}
        kept += chosen
        exclusions += [
            Exclusion(
                name=faces[i].name, reason="enough of its design", detail=f"{most} of {design} are kept"
            )
            for i in some
            if i not in chosen
        ]
    return sorted(kept)


def _splits(kinds: dict[str, Kind]) -> dict[str, Split]:
    """The split of each design; one that is ordinary goes to validation where chance gives it none."""
    splits = {design: split_of(design) for design in kinds}
    if len(kinds) < 2:
        raise ConfigError(
            f"{len(kinds)} usable font designs were found; training and validation need one each. Give "
            "folders of fonts (--fonts), or let Debian's packages be fetched (--packages lean)."
        )
    ordinary = [design for design, kind in kinds.items() if kind in ORDINARY] or list(kinds)
    if not any(splits[design] == "validation" for design in ordinary):
        splits[min(ordinary, key=rank_of)] = "validation"
    if "train" not in splits.values():
        splits[max(splits, key=rank_of)] = "train"
    return splits


def _pack(faces: Sequence[RawFace], left_out: npt.NDArray[np.bool_]) -> tuple[Bytes, Ints]:
    """All glyphs but those that are left out, and F × C × 7 of where each is."""
    index = np.stack([face.boxes for face in faces])
    index[left_out] = 0
    present = index[:, :, 6] == 1
    sizes = np.where(present, index[:, :, 1].astype(np.int64) * index[:, :, 2], 0)
    ends = np.cumsum(sizes).reshape(sizes.shape)
    if ends[-1, -1] > np.iinfo(np.int32).max:
        raise ConfigError(
            f"{len(faces)} faces with {index.shape[1]} characters take {ends[-1, -1] / 1e9:.1f} GB, more "
            "than an index can hold. Ask for fewer characters, or fewer faces of a design (--per-design)."
        )
    glyphs = [
        face.bitmap(int(i)).ravel()
        for face, held in zip(faces, present, strict=True)
        for i in np.flatnonzero(held)
    ]
    index[:, :, 0] = np.where(present, ends - sizes, 0)
    return np.concatenate(glyphs), index
