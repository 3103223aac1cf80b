"""What training reaches when the pipeline feeds it, beside the same steps fed from memory."""

import logging
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from itertools import cycle, islice
from statistics import median
from tempfile import TemporaryDirectory

import ray
import torch

from crnn.charset import LATIN94
from crnn.model import channels_last, seeded
from crnn.networks import NETWORKS
from crnn.optimizer import OptimizerConfig
from crnn.preprocess import PreprocessConfig
from crnn.training import Learner
from pipeline.benchmark.measure import Rate, Row, Setting, row, torch_threads, tree_seconds, wait_for
from pipeline.benchmark.training import PACK_COLUMNS, Coding, make_shards
from pipeline.dataset import WAITING_BYTES, UnevenSplit, training_feed
from pipeline.labels import LabelRules
from pipeline.machine import available_cpus
from pipeline.order import Position, Window, plan_windows
from pipeline.packing import Pack, Packer, Source
from pipeline.synthesis.asset_builder import default_assets
from pipeline.synthesis.assets import Assets

_SHARDS, _WINDOW_ROWS = 8, 256
_IMAGES = 2_000_000
"""In as many epochs as that takes: more than are measured."""
_IN_MEMORY = 4
"""Windows whose packs the steps from memory go through."""
_WAITING_BYTES, _TAKEN = 16 << 20, 4
"""Of packs that wait, and windows that a fed round takes at least: while no more may wait, the feed makes
in a round what the steps take in it, as it does in hours of training."""
_CODINGS: tuple[Coding, ...] = ("jpeg", "raw")
_STAGE, _UNIT = "end-to-end", "images/s"


def end_to_end(setting: Setting) -> Iterator[Row]:
    """Shards on a disk through Ray Data and into the training step, by the clock on the wall, in a worker as
    training has them; on CPUs all of them compute steps while the feed works beside. The ceiling is the same
    steps from memory while the feed has nothing to do, rounds of both taking turns."""
    return end_to_end_rows(default_assets(), setting)


def end_to_end_rows(assets: Assets, setting: Setting) -> Iterator[Row]:
    """As `end_to_end`, with other assets; starts a Ray of this machine where there is none, and ends it."""
    started = not ray.is_initialized()
    if started:
        ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        for coding in _CODINGS:
            with TemporaryDirectory() as folder:
                source = Source(uri=folder, content=make_shards(folder, assets, coding, shards=_SHARDS))
                yield from _alone(source, coding, setting)
                for name in setting.networks:
                    yield _fed(source, name, coding, setting)
    finally:
        if started:
            ray.shutdown()


def _alone(source: Source, coding: Coding, setting: Setting) -> Iterator[Row]:
    """What Ray Data brings where nobody computes: by the clock, and by the CPU time of all its processes."""
    rates: dict[str, list[float]] = {"feed alone": [], "feed alone, a core": []}
    packer = _packer(source, setting.networks[0])
    with closing(_packs(packer, torch.device(setting.device), WAITING_BYTES)) as packs:
        next(packs)
        for _ in range(setting.rounds):
            cpu, clock, images = tree_seconds(), time.perf_counter(), 0
            while not images or time.perf_counter() - clock < setting.seconds:
                images += next(packs).batch.count
            spent = time.perf_counter() - clock, max(tree_seconds() - cpu, 1e-3)
            for found, seconds in zip(rates.values(), spent, strict=True):
                found.append(images / seconds)
    for name, found in rates.items():
        yield row(_STAGE, f"{name}, {coding}", _UNIT, _summary(found))


def _fed(source: Source, name: str, coding: Coding, setting: Setting) -> Row:
    measure = ray.remote(num_cpus=1, num_gpus=1 if setting.device.startswith("cuda") else 0)(_both)
    memory, fed = ray.get(measure.remote(source, name, setting))
    bound = "the same steps from memory"
    return row(_STAGE, f"{name}, {coding}", _UNIT, _summary(fed), ceiling=median(memory), bound=bound)


def _both(source: Source, name: str, setting: Setting) -> tuple[list[float], list[float]]:
    """Images a second of steps from memory, and fed, by round; runs in a worker of Ray's."""
    device = torch.device(setting.device)
    network = channels_last(seeded(NETWORKS[name], LATIN94.num_classes, seed=0).to(device))
    learner = Learner(network, OptimizerConfig(), precision="auto")
    packer = _packer(source, name)
    tables = (table for window in _windows(packer)[:_IN_MEMORY] for table in packer.packs(window))
    height = packer.rules.preprocess.height
    memory = cycle([Pack.from_table(table, height, device) for table in tables])
    rates: tuple[list[float], list[float]] = ([], [])
    threads = 1 if device.type == "cuda" else available_cpus()
    with closing(_packs(packer, device, _WAITING_BYTES)) as fed, torch_threads(threads):
        _steps(learner, islice(fed, 1), device, images=1)
        _steps(learner, memory, device, seconds=setting.seconds)
        for _ in range(setting.rounds):
            time.sleep(min(2.0, 4 * setting.seconds))  # until as many packs wait as may: Ray tells nobody
            rates[0].append(_steps(learner, memory, device, seconds=setting.seconds))
            rates[1].append(
                _steps(learner, fed, device, seconds=setting.seconds, images=_TAKEN * _WINDOW_ROWS)
            )
    return rates


def _steps(
    learner: Learner, packs: Iterator[Pack], device: torch.device, *, seconds: float = 0.0, images: int = 1
) -> float:
    """Images a second of steps for at least so many seconds and images."""
    wait_for(device)
    began, seen = time.perf_counter(), 0
    while seen < images or time.perf_counter() - began < seconds:
        batch = next(packs).batch
        learner.step(batch, global_count=batch.count, progress=0.5)
        seen += batch.count
    wait_for(device)
    return seen / (time.perf_counter() - began)


def _packer(source: Source, network: str) -> Packer:
    rules = LabelRules(charset=LATIN94, preprocess=PreprocessConfig(), network=NETWORKS[network])
    return Packer(sources=(source,), rules=rules, pack_columns=PACK_COLUMNS, seed=7)


def _windows(packer: Packer) -> list[Window]:
    rows = [shard.rows for shard in packer.manifest.shards]
    return plan_windows(rows, images=_IMAGES, window_rows=_WINDOW_ROWS, seed=7)


def _packs(packer: Packer, device: torch.device, waiting_bytes: int) -> Generator[Pack, None, None]:
    """As a training worker gets them."""
    feed = training_feed(packer, _windows(packer), Position())
    (share,) = UnevenSplit(waiting_bytes).configure({"train": feed}, 1, None, None)
    height = packer.rules.preprocess.height
    for table in share["train"].iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=4):
        yield Pack.from_table(table, height, device)


def _summary(rates: list[float]) -> Rate:
    return Rate(median=median(rates), low=min(rates), high=max(rates))
