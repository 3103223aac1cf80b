"""Checkpoints on their way from a training worker to storage, one at a time beside the training."""

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import ray.train


@cache
def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """The process's own: checkpoints that never come to be uploaded go with it."""
    return tempfile.TemporaryDirectory(prefix="crnn-checkpoints-")


class CheckpointUpload:
    """Reports checkpoints to Ray Train, which uploads them while training goes on."""

    def __init__(self) -> None:
        self._under_way: Path | None = None

    def folder(self) -> Path:
        """A new folder to write this rank's share of a checkpoint into."""
        return Path(tempfile.mkdtemp(dir=_scratch().name))

    def report(self, directory: Path, metrics: dict[str, Any], *, wait: bool) -> None:
        """Hands over a folder of `folder`, which is deleted when it is uploaded.

        Args:
            directory: With the checkpoint.
            metrics: What Ray notes of it.
            wait: Return when it is uploaded; so it is in any case while the one before is under way.
        """
        waits = wait or (self._under_way is not None and self._under_way.exists())
        modes = ray.train.CheckpointUploadMode
        ray.train.report(
            metrics,
            checkpoint=ray.train.Checkpoint.from_directory(directory),
            checkpoint_upload_mode=modes.SYNC if waits else modes.ASYNC,
            delete_local_checkpoint_after_upload=True,
        )
        self._under_way = directory
