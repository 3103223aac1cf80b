"""What owes a row."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from pipeline.inputs.range_file import RangeFile
from pipeline.sources.files import IMAGES
from pipeline.stores import StoredObject

DAMAGED = "damaged_archive"
UNSAFE = "unsafe_name"
ENCRYPTED = "encrypted"
NO_IMAGES = "no_images"
NOT_A_FILE = "not_a_file"
MISSING = "missing_image"
BOMB = "archive_bomb"
TOO_MANY = "too_many_members"
"""Why an archive, or a member of one, has no image to decode."""

NAMELESS = "(no name)"
"""Name of a member that has none: an item without one is all of its object."""
LARGEST = 1 << 48
"""Bytes, beyond which no place in an object lies: storage holds none so large."""
INFLATED_FREE, INFLATED_RATIO = 256 << 20, 100
"""A compressed archive may hold so many bytes, and as many times its own size more: images hardly shrink."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """An image, or what claims to hold one."""

    uri: str
    """Of the object that holds it."""
    key: str
    """Its name below the input, with that of the member."""
    etag: str
    """The object's."""
    size: int
    """Bytes of the image, as stored; an even share of its row group in Parquet."""
    modified: datetime
    """When the object was last written, in UTC."""
    member: str = ""
    """Which part of the object it is: the member's name, the row's number, the box; empty for all of it."""
    position: int | None = None
    """Where a member begins in its archive; in Parquet, the row's number."""
    box: tuple[float, ...] | None = None
    """Corners (x, y, …) on the page in pixels, see `crnn.cropping`."""
    unfit: str | None = None
    """Why nothing can be read, in one word, where that is known already."""
    detail: str | None = None
    """The same for a person."""

    @classmethod
    def of(cls, stored: StoredObject) -> "Item":
        """All of an object."""
        return cls(
            uri=stored.uri, key=stored.key, etag=stored.etag, size=stored.size, modified=stored.modified
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """An entry of an archive."""

    name: str
    """Unique in it."""
    position: int | None
    size: int
    unfit: str | None = None
    detail: str | None = None


def looks_like_an_image(item: Item) -> bool:
    """Whether a member's name is that of an image; what a Mac adds to archives isn't. Rows have no names."""
    path = PurePosixPath(item.member)
    is_row = item.uri.lower().endswith(".parquet")
    return is_row or (path.suffix.lower() in IMAGES and not path.name.startswith("._"))


def is_safe(name: str) -> bool:
    """Whether a member's name stays below the folder that its archive might be unpacked in."""
    parts = name.replace("\\", "/").split("/")
    return bool(parts[0]) and ".." not in parts and "\0" not in name and not parts[0].endswith(":")


class Names:
    """The names that an archive's members have so far."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def add(self, name: str) -> str:
        """A name that none of them has: this one, numbered where it came before."""
        name = name.encode("utf-8", "backslashreplace").decode() or NAMELESS
        found = name
        while found in self._times:
            self._times[name] += 1
            found = f"{name} ({self._times[name]})"
        self._times[found] = 1
        return found


def checked(name: str, position: int, size: int, unfit: str | None, detail: str | None) -> Member:
    """A member, which is unfit, too, where its name isn't safe, or where it can't lie there."""
    if not (0 <= position <= LARGEST and 0 <= size <= LARGEST):
        unfit, detail = unfit or DAMAGED, detail or f"{size} bytes from byte {position} on, which can't be"
        position, size = 0, 0
    if not is_safe(name):
        unfit, detail = UNSAFE, f"{name!r} would lead out of the folder that it is unpacked in"
    return Member(name=name, position=position, size=size, unfit=unfit, detail=detail)


def damaged(file: RangeFile, why: str) -> Member:
    """What stands for the rest of an archive that is damaged."""
    detail = f"{file.uri} isn't whole ({why}); what follows is lost. Fetch it again"
    return Member(name="", position=None, size=file.size, unfit=DAMAGED, detail=detail[:500])


def most_inflated(file: RangeFile) -> int:
    """Bytes that an archive may hold: more than any images that are worth a look, in a file of its size."""
    return INFLATED_FREE + INFLATED_RATIO * file.size


def too_far(file: RangeFile) -> str:
    """What to tell of an archive that holds more than `most_inflated`."""
    told = f"{file.uri} inflates to more than {most_inflated(file):,} bytes, as no images do"
    return f"{told}; what follows is left. Unpack it if it is meant so"[:500]
