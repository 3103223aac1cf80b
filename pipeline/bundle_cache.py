"""Bundles that were fetched, kept once a machine by their fingerprints."""

import os
import re
import shutil
import tempfile
from pathlib import Path

from crnn.checkpoint import DESCRIPTION, Bundle
from crnn.errors import BundleError
from pipeline.errors import ModelNotFoundError


def cached(digest: str) -> Path:
    """Where the bundle of this fingerprint is kept on this machine.

    Raises:
        BundleError: It is none, and could name a folder anywhere.
    """
    if not re.fullmatch(r"[0-9a-f]{16}", digest):
        raise BundleError(f"{digest!r} is no bundle's fingerprint; register or write the bundle again.")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crnn-pipeline"
    try:
        base.mkdir(parents=True, exist_ok=True)
    except OSError:  # containers may have no home that can be written to
        base = Path(tempfile.gettempdir()) / f"crnn-pipeline-{os.getuid()}"
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
    return base / digest


def kept_bundle(digest: str) -> Path | None:
    """The folder of a bundle with this fingerprint that was fetched before; None where this machine has none.

    Raises:
        BundleError: That is no fingerprint.
    """
    directory = cached(digest)
    return directory if directory.is_dir() else None


def keep(bundle: Path, directory: Path) -> None:
    """Copies a bundle into the cache: whole or not at all, by whoever comes first."""
    found = fingerprint_of(bundle)
    if found != directory.name:
        raise BundleError(f"Fetched bundle {found} where {directory.name} was expected; register it again.")
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix="partial-") as folder:
        copy = Path(folder) / "bundle"
        shutil.copytree(bundle, copy)
        try:
            copy.rename(directory)
        except OSError:
            if not directory.is_dir():  # else another process was first, with the same bytes
                raise


def fingerprint_of(directory: Path) -> str:
    """The fingerprint of the bundle in a folder.

    Raises:
        ModelNotFoundError: There is none.
        BundleError: It isn't sound.
    """
    if not (directory / DESCRIPTION).is_file():
        raise ModelNotFoundError(f"There is no bundle in {directory}: it holds no {DESCRIPTION}.")
    return Bundle.load(directory).fingerprint
