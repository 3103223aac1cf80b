"""Whether a store keeps the promise that everything here rests on."""

from pipeline.errors import ConfigError
from pipeline.storage import create_exclusive, join


def check_put_if_absent(output_uri: str) -> None:
    """Refuses a store that lets a second writer in where only the first may.

    Raises:
        ConfigError: It does: runs would overwrite each other's records without a word.
        StorageError: It can't be told.
    """
    uri = join(output_uri, "lease", "put-if-absent.probe")
    create_exclusive(uri, b"the first")
    if create_exclusive(uri, b"the second"):
        raise ConfigError(
            f"{uri} could be created twice: this store ignores If-None-Match, so that two runs could undo "
            "each other's work. Use a store with conditional writes (S3, MinIO, Ceph, a disk)."
        )
