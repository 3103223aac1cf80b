"""A few steps of a run before it starts, on a machine like its workers': how fast they are, and whether one
small batch can be learnt by heart."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import ray
import torch

from crnn.model import CRNN, channels_last, seeded
from crnn.optimizer import OptimizerConfig
from crnn.precision import Precision, use_bf16
from crnn.training import Batch, Learner
from pipeline.benchmark.measure import wait_for
from pipeline.errors import BatchCheckError
from pipeline.machine import available_cpus, living_nodes
from pipeline.order import Window
from pipeline.packing import Pack, Packer
from pipeline.train_plan import Plan

STEPS, SECONDS = 12, 15.0
"""That are timed, at most."""
CHECK_IMAGES, CHECK_STEPS, CHECK_LOSS = 8, 1_000, 0.1
"""A batch of so many images is learnt when their mean loss is below this, within so many steps."""
_RAMP = 50  # steps of the check over which the rate climbs, as it does over a run's warm-up
_NAMED = 3

Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """What has to be known of a run to try it."""

    packer: Packer
    window: Window
    """Its first one."""
    optimizer: OptimizerConfig
    precision: Precision
    start: Any
    """Ray's reference to the weights before the first step; None where they are the seed's."""
    gpu: bool
    neighbours: int
    """Workers that share a machine, itself included."""

    @classmethod
    def of(cls, plan: Plan, window: Window) -> "Trial":
        """Of a run whose first window this is; Ray must be connected."""
        config = plan.config
        machines = len(living_nodes())
        return cls(
            packer=plan.packer,
            window=window,
            optimizer=config.optimizer,
            precision=config.precision,
            start=ray.put(plan.start.weights) if plan.start else None,
            gpu=config.gpu,
            neighbours=math.ceil(config.workers / max(1, machines)),
        )

    def run(self, function: "Callable[[Trial], Result]") -> Result:
        """Calls a function of this module on a machine that has what a worker needs."""
        task = ray.remote(function).options(num_cpus=1, num_gpus=int(self.gpu), max_retries=0)
        result: Result = ray.get(task.remote(self))
        return result

    @property
    def threads(self) -> int:
        """CPUs that a worker on this machine computes with, as `pipeline.worker` shares them out."""
        return 1 if self.gpu else max(1, available_cpus() // self.neighbours)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return torch.device("cuda" if self.gpu else "cpu")

    def learner(self) -> Learner:
        """The run's own, before its first step."""
        torch.set_num_threads(self.threads)
        rules = self.packer.rules
        network = seeded(rules.network, rules.charset.num_classes, self.packer.seed)
        if self.start is not None:
            network.load_state_dict(ray.get(self.start))
        channels_last(network.to(self.device))
        return Learner(network, self.optimizer, precision=self.precision)

    def packs(self) -> Iterator[Pack]:
        """Of the first window, less those without an image."""
        height = self.packer.rules.preprocess.height
        packs = (Pack.from_table(table, height, self.device) for table in self.packer.packs(self.window))
        return (pack for pack in packs if pack.batch.count)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """How fast a worker is."""

    device: str
    """What it computed on."""
    timed: int
    """Steps that were timed."""
    trained_per_s: float
    """Images a second in steps of one worker, whose data is at hand."""
    read_per_s: float
    """Held-out images a second that it reads."""
    packed_per_s: float
    """Images a second that one core reads, decodes and packs."""
    packs: int
    """Of the first window."""


def measure(trial: Trial) -> Pace:
    """Times some steps of different widths, after one that doesn't count; to be called through `Trial.run`.

    Raises:
        DataError, StorageError: The data can't be read.
    """
    clock = time.perf_counter
    learner, packs = trial.learner(), trial.packs()
    began = clock()
    first = next(packs)
    opened = clock()
    others = list(islice(packs, STEPS))
    packed = clock()
    batches = [pack.batch for pack in others or [first]]
    per_pack = (packed - opened) / len(others) if others else 0.0
    # Reading the window's shards comes once for all of its packs.
    per_pack += max(0.0, opened - began - per_pack) / first.packs_in_window
    learner.step(first.batch, global_count=first.batch.count, progress=0.0)
    trained, training, timed = _timed(batches, partial(_train, learner), trial.device)
    network = learner.network.eval()
    read, reading, _ = _timed(batches, partial(_read, network, trial.precision), trial.device)
    return Pace(
        device=torch.cuda.get_device_name() if trial.gpu else f"{trial.threads} CPUs",
        timed=timed,
        trained_per_s=trained / training,
        read_per_s=read / reading,
        packed_per_s=sum(batch.count for batch in batches) / len(batches) / per_pack,
        packs=first.packs_in_window,
    )


def _timed(
    batches: Sequence[Batch], work: Callable[[Batch], None], device: torch.device
) -> tuple[int, float, int]:
    """Images, seconds and number of the batches that were worked on; not all where it takes too long."""
    began, images, count = time.perf_counter(), 0, 0
    for batch in batches:
        work(batch)
        wait_for(device)
        images, count = images + batch.count, count + 1
        if time.perf_counter() - began > SECONDS:
            break
    return images, time.perf_counter() - began, count


def _train(learner: Learner, batch: Batch) -> None:
    learner.step(batch, global_count=batch.count, progress=0.0)


@torch.inference_mode()
def _read(network: CRNN, precision: Precision, batch: Batch) -> None:
    device = batch.images_NCHW.device
    with torch.autocast(device.type, torch.bfloat16, enabled=use_bf16(precision, device)):
        network(batch.images_NCHW.contiguous(memory_format=torch.channels_last))


@dataclass(frozen=True, kw_only=True, slots=True)
class ByHeart:
    """How well one small batch was learnt by heart."""

    images: int
    steps: int
    before: float
    """Mean loss of an image at first."""
    after: float
    """At last."""
    worst: tuple[str, ...]
    """The images with the highest loss at last, told by id, text and loss."""

    @property
    def learnt(self) -> bool:
        """Whether it was."""
        return self.after < CHECK_LOSS

    def require(self) -> None:
        """Raises BatchCheckError unless it was."""
        if not self.learnt:
            raise BatchCheckError(
                f"One batch of {self.images} images couldn't be learnt by heart: its mean loss is "
                f"{self.after:.3g} after {self.steps} steps and was {self.before:.3g} at first; it should be "
                f"below {CHECK_LOSS}. A network that can't learn these can't learn the data set. Look at the "
                f"worst: {', '.join(self.worst)}. Do the texts belong to the images, can a person read them, "
                "and are --optimizer.learning-rate and --optimizer.matrix-rate far from the recipes'?"
            )


def learn_by_heart(trial: Trial) -> ByHeart:
    """Trains on one batch until its loss is near 0, or for `CHECK_STEPS`; to be called through `Trial.run`.

    The rate climbs to the run's peak and stays there.

    Raises:
        DataError, StorageError: The data can't be read.
    """
    learner = trial.learner()
    pack = max(islice(trial.packs(), STEPS), key=lambda pack: min(pack.batch.count, CHECK_IMAGES))
    batch = _head(pack.batch, CHECK_IMAGES)
    before = after = math.nan
    step = 0
    for step in range(1, CHECK_STEPS + 1):
        warm = trial.optimizer.warmup * min(1.0, step / _RAMP)
        outcome = learner.step(batch, global_count=batch.count, progress=warm)
        after = float(outcome.loss_sum) / batch.count
        before = after if step == 1 else before
        if after < CHECK_LOSS or not math.isfinite(after):
            break
    with torch.inference_mode():
        losses = learner.losses(batch).nan_to_num(math.inf)
    order = losses.argsort(descending=True)[:_NAMED].tolist()
    return ByHeart(
        images=batch.count,
        steps=step,
        before=before,
        after=after,
        worst=tuple(f"{pack.ids[i]} {pack.texts[i]!r} ({float(losses[i]):.3g})" for i in order),
    )


def _head(batch: Batch, count: int) -> Batch:
    """The first images of a batch."""
    lengths = batch.target_lengths[:count]
    return Batch(
        images_NCHW=batch.images_NCHW[:count],
        targets=batch.targets[: int(lengths.sum())],
        target_lengths=lengths,
    )
