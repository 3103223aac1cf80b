"""What every training worker of a run is told."""

from dataclasses import dataclass
from typing import Any

from crnn.optimizer import OptimizerConfig
from crnn.precision import Precision
from pipeline.packing import Packer


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerConfig:
    """What every worker of a run needs, made by the driver."""

    packer: Packer
    held_out: dict[str, Packer]
    """By name of the validation set."""
    epoch_images: dict[str, float]
    """Images of the run in which a set to learn from comes once, by the name of the curve that counts."""
    optimizer: OptimizerConfig
    precision: Precision
    packs_per_step: int
    """Over all workers, at least: no fewer than the steps before a checkpoint took."""
    total_images: int
    """Of the whole run, over all workers."""
    total_seconds: float
    """Of training, over all starts; infinite where only the images count."""
    patience: float
    """Looks at held-out words without a new best before the run ends; infinite where they don't count."""
    score: str
    """The metric by which the best is known."""
    counts_since: int
    """Step from which patience counts."""
    log_every: int
    """Steps between two points of the curves."""
    save_every: int
    """Images between two checkpoints."""
    start: Any
    """Ray's reference to the weights before the first step; None where they are the seed's."""
    language: Any
    """Ray's reference to the language model that the run's bundles read with, which may be None."""
    max_refused: int
    """Steps in a row without a finite gradient, before the run gives up."""
    gpu: bool
    provenance: dict[str, object]
