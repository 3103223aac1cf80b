"""A training checkpoint: all that a later start needs to go on as if nothing had happened.

    state.pt              network, optimiser, averaged weights, step and image counts      (rank 0)
    bundle/               the averaged weights as a recogniser                             (rank 0)
    history.jsonl         every metric point of the run so far                             (rank 0)
    pictures/<set>/       held-out words as the model reads them at this step              (rank 0)
    hardest.json, .png    words that were hardest to learn since the checkpoint before        (rank 0)
    position-<rank>.json  which packs this rank consumed, and all did before its start     (each rank)
    rejects-<rank>.json   rows that it had to leave out, likewise                          (each rank)

Ray merges the ranks' files into one directory. The history belongs to the checkpoint, so that points of work
that was lost with a crash are lost with it, and the curves show one timeline.
"""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from crnn.checkpoint import Bundle
from pipeline.errors import CheckpointError
from pipeline.hardest import HardestWords
from pipeline.order import Position
from pipeline.tracking import MetricPoint

STATE, BUNDLE, HISTORY, PICTURES = "state.pt", "bundle", "history.jsonl", "pictures"
HARDEST_TABLE, HARDEST_SHEET = "hardest.json", "hardest.png"


@dataclass(slots=True)
class Progress:
    """How far a run has come."""

    images: int = 0
    """Images seen by all workers."""
    skipped_steps: int = 0
    """Steps whose gradient wasn't finite and was not applied."""
    seconds: float = 0.0
    """Spent on training, over all starts; looks at held-out words and checkpoints not counted."""
    packs_per_step: int = 0
    """Packs that a step took, at most so far; 0 where that isn't known."""
    position: Position = field(default_factory=Position)
    rejects: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Reason and detail, by id, of each row that training had to leave out."""
    history: list[MetricPoint] = field(default_factory=list)


def write_rank(directory: Path, rank: int, progress: Progress) -> None:
    """Writes the share of a checkpoint that every rank has."""
    for name, values in (("position", progress.position.to_dict()), ("rejects", progress.rejects)):
        (directory / f"{name}-{rank:05d}.json").write_text(json.dumps(values), encoding="utf-8")


def write_shared(
    directory: Path,
    state: dict[str, Any],
    progress: Progress,
    bundle: Bundle,
    pictures: dict[str, bytes],
    *,
    ranks: int,
    hardest: HardestWords | None = None,
) -> None:
    """Writes the share of a checkpoint that rank 0 has; `ranks` is how many have one of their own."""
    counters = {
        "images": progress.images,
        "skipped_steps": progress.skipped_steps,
        "seconds": progress.seconds,
        "packs_per_step": progress.packs_per_step,
    }
    torch.save({"learner": state, "counters": counters, "ranks": ranks}, directory / STATE)
    lines = [json.dumps([p.key, p.value, p.step, p.timestamp_ms]) for p in progress.history]
    (directory / HISTORY).write_text("\n".join(lines), encoding="utf-8")
    for name, png in pictures.items():
        path = directory / PICTURES / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png)
    if hardest:
        table = {"step": hardest.step, "columns": hardest.columns}
        (directory / HARDEST_TABLE).write_text(json.dumps(table), encoding="utf-8")
        (directory / HARDEST_SHEET).write_bytes(hardest.sheet)
    bundle.save(directory / BUNDLE)


def read(directory: Path, device: torch.device) -> tuple[dict[str, Any], Progress]:
    """The learner's state and the progress of a checkpoint, with the positions of all ranks merged.

    Raises:
        CheckpointError: The directory isn't a whole checkpoint.
    """
    try:
        # weights_only: tensors and plain values, never code.
        saved = torch.load(
            io.BytesIO((directory / STATE).read_bytes()), map_location=device, weights_only=True
        )
        progress = Progress(**saved["counters"])
        for share in ("position", "rejects"):
            found = len(list(directory.glob(f"{share}-*.json")))
            # Checkpoints of before the number was kept have one at least.
            if found != saved.get("ranks", max(found, 1)):
                raise ValueError(f"{share}-*.json of {found} workers, not of {saved.get('ranks', 1)}")
        progress.position = read_position(directory)
        progress.rejects = read_rejects(directory)
        progress.history = read_history(directory)
    except (OSError, EOFError, KeyError, ValueError, TypeError, RuntimeError, UnpicklingError) as error:
        told = str(error).partition("\n")[0]
        raise CheckpointError(
            f"{directory} is not a whole training checkpoint ({told}). Delete that checkpoint's folder to "
            "go on from the one before it."
        ) from error
    return saved["learner"], progress


def read_position(directory: Path) -> Position:
    """What all ranks of a checkpoint consumed, merged."""
    paths: Sequence[Path] = sorted(directory.glob("position-*.json"))
    return Position.merge(Position.from_dict(json.loads(p.read_text(encoding="utf-8"))) for p in paths)


def read_rejects(directory: Path) -> dict[str, tuple[str, str]]:
    """What all ranks of a checkpoint had to leave out: reason and detail by id."""
    merged: dict[str, tuple[str, str]] = {}
    for path in sorted(directory.glob("rejects-*.json")):
        found = json.loads(path.read_text(encoding="utf-8"))
        merged |= {key: (reason, detail) for key, (reason, detail) in found.items()}
    return merged


def read_history(directory: Path) -> list[MetricPoint]:
    """Every metric point of a checkpoint's run, in the order in which they were made."""
    lines = (directory / HISTORY).read_text(encoding="utf-8").splitlines()
    values = [json.loads(line) for line in lines]
    return [MetricPoint(key=k, value=v, step=s, timestamp_ms=t) for k, v, s, t in values]
