"""A run's folder: whose it is, its checkpoints, whether it is finished."""

import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Literal, TypeVar

import ray.train
from pyarrow.fs import FileSelector, FileSystem, FileType

from pipeline.errors import ConfigError
from pipeline.hardest import HardestWords
from pipeline.order import Position
from pipeline.resume import (
    HARDEST_SHEET,
    HARDEST_TABLE,
    HISTORY,
    PICTURES,
    read_history,
    read_position,
    read_rejects,
)
from pipeline.storage import create_exclusive, exists, join, read_bytes, resolve, write_atomic
from pipeline.tracking import MetricPoint

IDENTITY = "run.json"
FINISHED = "finished.json"
SNAPSHOT = "checkpoint_manager_snapshot.json"
"""Ray Train's list of the run's checkpoints. On disks it is written in place, before one is deleted."""
_SETTLED_S = 3.0
"""A list that is damaged for so long isn't just being written."""
T = TypeVar("T")
End = Literal["images", "minutes", "patience"]
"""What a run comes to first."""


def claim(run_uri: str, identity: Mapping[str, Any]) -> None:
    """Makes the folder the home of this run, or makes sure that it already is.

    Raises:
        ConfigError: It is the home of another one; what differs is named.
    """
    if not create_exclusive(join(run_uri, IDENTITY), json.dumps(identity, indent=2).encode()):
        check_owner(run_uri, identity)


def check_owner(run_uri: str, identity: Mapping[str, Any]) -> None:
    """Makes sure that the folder is this run's home or nobody's yet.

    Raises:
        ConfigError: It is the home of another one; what differs is named.
    """
    if not exists(join(run_uri, IDENTITY)):
        return
    wanted, found = json.loads(json.dumps(identity)), json.loads(read_bytes(join(run_uri, IDENTITY)))
    different = sorted(key for key in wanted.keys() | found.keys() if wanted.get(key) != found.get(key))
    if different:
        shown = "; ".join(
            f"{k}: {_short(found.get(k))} there, {_short(wanted.get(k))} now" for k in different
        )
        raise ConfigError(
            f"{run_uri} holds a run with another {', '.join(different)} ({shown}). Going on would mix "
            "two runs: give this one another --name, or start it as it was."
        )


def begun_with(run_uri: str, asked: str) -> str:
    """The model that a run began with where it was asked for this one: an alias may have moved on since."""
    if not exists(join(run_uri, IDENTITY)):
        return asked
    start = json.loads(read_bytes(join(run_uri, IDENTITY))).get("start")
    pinned = start.get("version") if isinstance(start, dict) and start.get("asked") == asked else None
    return str(pinned or asked)


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """What a finished run left."""

    checkpoint_uri: str
    """Of the best checkpoint."""
    metrics: dict[str, float]
    """Of the best checkpoint."""
    images_seen: int
    """In all, up to the last checkpoint."""
    images_per_s: float
    """Over the whole run, start-up and looks at held-out words aside."""
    last_uri: str
    """Of the last checkpoint, which has the history of the whole run."""
    images: int
    """That the run was to see."""
    minutes: float | None
    """That it was to take at most."""
    patience: int | None = None
    """Looks without a new best that it was to take at most."""
    ended: End = "images"
    """Which of these it came to."""
    step: int = 0
    """Of the last checkpoint."""

    def reaches(self, images: int, minutes: float | None, patience: int | None) -> bool:
        """Whether the run was to go at least as far as this."""
        ends = ((self.images, images), (self.minutes, minutes), (self.patience, patience))
        return all((had or math.inf) >= (wanted or math.inf) for had, wanted in ends)


def finished(run_uri: str) -> Finished | None:
    """The result of a run that is over, or None."""
    uri = join(run_uri, FINISHED)
    if not exists(uri):
        return None
    found = json.loads(read_bytes(uri))
    # A run's folder may have been moved since.
    places = {key: join(run_uri, PurePosixPath(found[key]).name) for key in ("checkpoint_uri", "last_uri")}
    return Finished(**found | places)


def mark_finished(
    run_uri: str,
    best: "ray.train.Checkpoint",
    metrics: Mapping[str, Any],
    last: "ray.train.Checkpoint",
    last_metrics: Mapping[str, Any],
    *,
    images: int,
    minutes: float | None,
    patience: int | None,
    ended: End,
) -> Finished:
    """Notes that a run has come to the end that it was to have, and which checkpoint was its best."""
    numbers = {k: float(v) for k, v in metrics.items() if isinstance(v, int | float)}
    uris = [join(run_uri, Path(checkpoint.path).name) for checkpoint in (best, last)]
    result = Finished(
        checkpoint_uri=uris[0],
        metrics=numbers,
        images_seen=int(last_metrics["images_seen"]),
        images_per_s=float(last_metrics["images_per_s"]),
        last_uri=uris[1],
        images=images,
        minutes=minutes,
        patience=patience,
        ended=ended,
        step=int(last_metrics["step"]),
    )
    write_atomic(join(run_uri, FINISHED), json.dumps(asdict(result), indent=2).encode())
    return result


def latest_checkpoint(run_uri: str) -> "ray.train.Checkpoint | None":
    """The last whole checkpoint, which a run that goes on may delete at any time; None where there is none.

    Raises:
        Exception: Ray's, where its list of checkpoints stays damaged: `pipeline.snapshot` mends those.
    """
    location = resolve(run_uri)
    end = time.monotonic() + _SETTLED_S
    while True:
        try:
            return ray.train.Result.from_path(
                location.path, storage_filesystem=location.filesystem
            ).checkpoint
        except (RuntimeError, FileNotFoundError, ValueError):
            return None
        except Exception as error:
            # Whatever Ray makes of a list that is half-written; that storage refuses won't pass in seconds.
            if isinstance(error, OSError) or time.monotonic() > end:
                raise
            time.sleep(0.02)


def latest_position(run_uri: str) -> Position | None:
    """What the run's last whole checkpoint has consumed; None where there is no checkpoint yet."""
    return _of_latest(run_uri, CheckpointFiles.position)


def progress(run_uri: str) -> tuple[int, float]:
    """Images that the run has seen up to its last whole checkpoint, and the seconds that it trained for; 0
    where there is none yet."""
    points = _of_latest(run_uri, CheckpointFiles.history) or []
    rates = {p.step: p.value for p in points if p.key == "train/images_per_s"}
    seen, seconds = 0, 0.0
    for point in points:
        if point.key == "train/images_seen":
            seconds += (point.value - seen) / rates[point.step] if rates.get(point.step) else 0.0
            seen = int(point.value)
    return seen, seconds


def _of_latest(run_uri: str, read: "Callable[[CheckpointFiles], T]") -> T | None:
    """What is read of the last whole checkpoint: of a newer one where a run that goes on has deleted it
    meanwhile, in part perhaps."""
    checkpoint = latest_checkpoint(run_uri)
    while checkpoint is not None:
        missing: FileNotFoundError | None = None
        try:
            found = read(CheckpointFiles.of(checkpoint))
        except FileNotFoundError as error:
            missing = error
        newer = latest_checkpoint(run_uri)
        if newer is not None and newer.path == checkpoint.path:
            if missing is not None:
                raise missing
            return found
        checkpoint = newer
    return None


class CheckpointFiles:
    """The small files of a checkpoint, read without fetching its weights."""

    def __init__(self, filesystem: FileSystem, path: str) -> None:
        self._filesystem, self._path = filesystem, path

    @classmethod
    def of(cls, checkpoint: "ray.train.Checkpoint") -> "CheckpointFiles":
        """Of a checkpoint that Ray Train hands out."""
        return cls(checkpoint.filesystem, checkpoint.path)

    @classmethod
    def at(cls, uri: str) -> "CheckpointFiles":
        """Of the checkpoint in this folder."""
        location = resolve(uri)
        return cls(location.filesystem, location.path)

    def history(self) -> list[MetricPoint]:
        """Every metric point of the run up to the checkpoint."""
        with TemporaryDirectory() as name:
            self._fetch(HISTORY, Path(name))
            return read_history(Path(name))

    def position(self) -> Position:
        """What all ranks had consumed."""
        with TemporaryDirectory() as name:
            self._fetch("position-", Path(name))
            return read_position(Path(name))

    def rejects(self) -> dict[str, tuple[str, str]]:
        """Reason and detail, by id, of the rows that training had to leave out."""
        with TemporaryDirectory() as name:
            self._fetch("rejects-", Path(name))
            return read_rejects(Path(name))

    def pictures(self) -> dict[tuple[str, int], bytes]:
        """PNG sheets of held-out words by validation set and step."""
        folder = f"{self._path}/{PICTURES}"
        files = self._filesystem.get_file_info(FileSelector(folder, recursive=True, allow_not_found=True))
        paths = [PurePosixPath(f.path) for f in files if f.path.endswith(".png")]
        return {
            (p.parent.name, int(p.stem)): self._read(f"{PICTURES}/{p.parent.name}/{p.name}") for p in paths
        }

    def hardest(self) -> HardestWords | None:
        """The words that were hardest to learn; None where the checkpoint was made in haste."""
        found = self._filesystem.get_file_info(f"{self._path}/{HARDEST_TABLE}")
        if found.type == FileType.NotFound:
            return None
        return HardestWords(**json.loads(self._read(HARDEST_TABLE)), sheet=self._read(HARDEST_SHEET))

    def _fetch(self, prefix: str, folder: Path) -> None:
        """Copies the files that begin so."""
        files = self._filesystem.get_file_info(FileSelector(self._path))
        for name in (PurePosixPath(f.path).name for f in files):
            if name.startswith(prefix):
                (folder / name).write_bytes(self._read(name))

    def _read(self, name: str) -> bytes:
        with self._filesystem.open_input_file(f"{self._path}/{name}") as stream:
            data: bytes = stream.read()
            return data
