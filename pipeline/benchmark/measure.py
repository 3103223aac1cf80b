"""Measuring: medians of rounds after a warm-up, and what the hardware could do at the very best."""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from crnn.precision import Precision, allow_tf32, use_bf16

Clock = Callable[[], float]
"""Seconds that only go up."""

_MATRIX = 2_048
_GPU_MATRIX = 8_192
_STREAM_BYTES = 1 << 28  # far more than any cache holds


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """What is measured on, and how thoroughly."""

    device: str = "cpu"
    """Where networks run, such as cpu or cuda."""
    threads: tuple[int, ...] = (1,)
    """Numbers of threads to measure networks with, on CPUs."""
    networks: tuple[str, ...] = ("small", "paper")
    """Names of networks."""
    rounds: int = 5
    """Rounds whose median counts."""
    seconds: float = 0.5
    """Least length of a round."""
    photographs: str | None = None
    """Folder or prefix of images of words, for stages that read such; they make some where it isn't given."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One figure beside its ceiling."""

    stage: str
    name: str
    """What was measured; unique within the stage."""
    value: float
    """Median of the rounds."""
    low: float
    """Of the slowest round."""
    high: float
    """Of the fastest round."""
    unit: str
    """Such as images/s: more is better."""
    ceiling: float | None = None
    """What would be the best, in the same unit; None where nothing bounds it but itself."""
    bound: str | None = None
    """What the ceiling is: where it comes from, in few words."""

    @property
    def ratio(self) -> float | None:
        """Share of the ceiling that is reached."""
        return self.value / self.ceiling if self.ceiling else None


Stage = Callable[[Setting], Iterable[Row]]
"""Measures one part of the pipeline, from inputs that it makes itself where the setting gives none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """Items a second."""

    median: float
    low: float
    high: float


def rate(work: Callable[[], int], setting: Setting, clock: Clock = time.perf_counter) -> Rate:
    """Items a second: the median over rounds, after a call that isn't counted.

    Args:
        work: Does some items, waits until they are done and returns how many they were; called again until
            a round is long enough.
        setting: How many rounds of what length.
        clock: time.process_time leaves out what other processes take, where one thread does the work.
    """
    work()
    rates = []
    for _ in range(setting.rounds):
        began, done = clock(), 0
        while True:
            done += work()
            passed = clock() - began
            if passed >= setting.seconds:
                break
        rates.append(done / passed)
    return Rate(median=median(rates), low=min(rates), high=max(rates))


def row(
    stage: str, name: str, unit: str, found: Rate, *, ceiling: float | None = None, bound: str | None = None
) -> Row:
    """A row of a measured rate."""
    return Row(
        stage=stage,
        name=name,
        value=found.median,
        low=found.low,
        high=found.high,
        unit=unit,
        ceiling=ceiling,
        bound=bound,
    )


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """torch computes with so many threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fair_clock(device: torch.device, threads: int) -> Clock:
    """CPU time where one thread does all the work, so that busy neighbours don't count; else the wall's."""
    return time.process_time if device.type == "cpu" and threads == 1 else time.perf_counter


def tree_seconds() -> float:
    """CPU seconds that this process and all below it have taken, such as a local Ray's; 0 but on Linux."""
    parents: dict[int, int] = {}
    ticks: dict[int, int] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            fields = file.read_text().rpartition(")")[2].split()
            pid = int(file.parent.name)
            # Its own, and those of children that have ended.
            parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    found = {os.getpid()}
    while below := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= below
    return sum(ticks.get(pid, 0) for pid in found) / os.sysconf("SC_CLK_TCK")


def matrix_flops(setting: Setting, dtype: torch.dtype, threads: int = 1) -> float:
    """Floating-point operations a second of a large matrix product: the most that any network can get.

    The fastest round counts: a ceiling that a busy neighbour lowers would flatter what stands below it.
    """
    device = torch.device(setting.device)
    size = _MATRIX if device.type == "cpu" else _GPU_MATRIX
    matrix = torch.ones(size, size, dtype=dtype, device=device)

    def work() -> int:
        matrix @ matrix
        wait_for(device)
        return 1

    with torch_threads(threads):
        return rate(work, setting, fair_clock(device, threads)).high * 2 * size**3


def computations(setting: Setting) -> Iterator[tuple[Precision, int, float, str]]:
    """Every way in which this device computes a network: precision, threads, the operations a second of a
    matrix product computed so, and what to call it."""
    device = torch.device(setting.device)
    if device.type == "cuda":
        allow_tf32()  # as training does: its ceiling computes so, too
    precisions: tuple[Precision, ...] = ("fp32", "bf16") if use_bf16("auto", device) else ("fp32",)
    for precision in precisions:
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        for threads in setting.threads if device.type == "cpu" else (1,):
            where = f" on {threads} CPU{'s'[: threads != 1]}" if device.type == "cpu" else ""
            yield precision, threads, matrix_flops(setting, dtype, threads), f"{precision}{where}"


def memory_bytes_per_second(setting: Setting) -> float:
    """Bytes a second that one thread reads from memory, in its fastest round."""
    block = torch.ones(_STREAM_BYTES // 4)

    def work() -> int:
        block.sum()
        return _STREAM_BYTES

    with torch_threads(1):
        return rate(work, setting, time.process_time).high


def wait_for(device: torch.device) -> None:
    """Returns when the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
