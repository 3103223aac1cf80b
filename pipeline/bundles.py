"""Bundles written to where a URI says."""

from pathlib import Path
from tempfile import TemporaryDirectory

from crnn.checkpoint import DESCRIPTION, LANGUAGE, Bundle
from pipeline.storage import delete, join, upload


def save_bundle(bundle: Bundle, folder_uri: str) -> None:
    """Writes a bundle into a folder, in place of one that may be there. What is left where the process dies
    meanwhile is refused when it is loaded.

    Raises:
        StorageError: It can't be written there.
    """
    with TemporaryDirectory() as local:
        bundle.save(local)
        # The description last: a folder without one is no bundle.
        for file in sorted(Path(local).iterdir(), key=lambda file: file.name == DESCRIPTION):
            upload(file, join(folder_uri, file.name))
    if bundle.language is None:
        delete(join(folder_uri, LANGUAGE))
