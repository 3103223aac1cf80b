"""What owes a row."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath

from pipeline.sources.files import IMAGES
from pipeline.stores import StoredObject

DAMAGED = "damaged_archive"
UNSAFE = "unsafe_name"
ENCRYPTED = "encrypted"
NO_IMAGES = "no_images"
NOT_A_FILE = "not_a_file"
MISSING = "missing_image"
"""Why an archive, or a member of one, has no image to decode."""


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
