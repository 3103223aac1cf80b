"""The list of a data set's shards, written last: a folder without one is no data set."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.errors import ManifestError, ObjectNotFoundError
from pipeline.schema import SAMPLE_SCHEMA, version
from pipeline.storage import join, read_bytes, write_atomic

NAME = "manifest.json"
_SHARD_NAME = re.compile(r"^shards/\d{6,}\.parquet$")


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardInfo:
    """One Parquet file of a data set."""

    name: str
    """Path below the data set's folder: shards/000000.parquet."""
    rows: int
    """Samples in it."""
    bytes: int
    """Size of the file."""
    sha256: str
    """Hex digest of the file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a data set consists of.

    Args:
        shards: In the order of their names, whatever order they are given in.
        config: What the data set was made from; recorded, not part of the fingerprint.
        rejected: How many samples were read and not kept, by reason; they stand in rejects.parquet.

    Raises:
        ManifestError: Shards contradict each other.
    """

    shards: tuple[ShardInfo, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    schema_version: int = version(SAMPLE_SCHEMA)

    def __post_init__(self) -> None:
        object.__setattr__(self, "shards", tuple(sorted(self.shards, key=lambda shard: shard.name)))
        names = [shard.name for shard in self.shards]
        odd = [name for name in names if not _SHARD_NAME.match(name)]
        if odd or len(set(names)) < len(names):
            raise ManifestError(
                f"A manifest's shards have names of their own, shards/<number>.parquet: {odd or names}."
            )
        if any(shard.rows < 0 or shard.bytes < 0 for shard in self.shards):
            raise ManifestError("A shard can't have fewer than 0 rows or bytes.")

    @property
    def rows(self) -> int:
        """Samples in all shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def fingerprint(self) -> str:
        """32 hex digits that name the content: from the shards' checksums and the schema's version alone."""
        content = json.dumps([self.schema_version, [shard.sha256 for shard in self.shards]])
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    def write(self, dir_uri: str) -> None:
        """Makes the folder a data set, as the last step of making one.

        Raises:
            StorageError: It can't be written.
        """
        record = {"fingerprint": self.fingerprint, "rows": self.rows} | asdict(self)
        text = json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True)
        write_atomic(join(dir_uri, NAME), text.encode() + b"\n")

    @classmethod
    def read(cls, dir_uri: str) -> "Manifest":
        """The manifest of a finished data set.

        Raises:
            ManifestError: There is none, or it is damaged or of another version.
            StorageError: It can't be read.
        """
        uri = join(dir_uri, NAME)
        try:
            record = json.loads(read_bytes(uri))
            found = record.pop("schema_version")
            if found != version(SAMPLE_SCHEMA):
                raise ManifestError(
                    f"{uri} is of schema version {found}; this code reads {version(SAMPLE_SCHEMA)}. "
                    "Make the data set again, or use the version that made it."
                )
            fingerprint, rows = record.pop("fingerprint"), record.pop("rows")
            shards = tuple(ShardInfo(**shard) for shard in record.pop("shards"))
            manifest = cls(shards=shards, **record)
            if (manifest.fingerprint, manifest.rows) != (fingerprint, rows):
                raise ManifestError(f"{uri} was changed after it was written. Make the data set again.")
        except ObjectNotFoundError as error:
            raise ManifestError(
                f"{dir_uri} is no finished data set: it has no {NAME}. Check the path (a data set is a "
                "folder such as <output>/train), or finish making it by the command that began it."
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ManifestError(f"{uri} is damaged ({error}). Make the data set again.") from error
        return manifest
