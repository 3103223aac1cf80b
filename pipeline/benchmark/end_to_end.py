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
from pipeline.benchmark.training import PACK_COLUMNS, make_shards
from pipeline.dataset import UnevenSplit, training_feed
from pipeline.labels import LabelRules
from pipeline.machine import available_cpus
from pipeline.order import Position, plan_windows
from pipeline.packing import Pack, Packer, Source
from pipeline.synthesis.asset_builder import default_assets
from pipeline.synthesis.assets import Assets

_SHARDS, _WINDOW_ROWS = 8, 4_096
_IMAGES = 2_000_000
"""In as many epochs as that takes: more than are measured."""
_IN_MEMORY = 24
"""Packs that the steps from memory go through."""
_STAGE, _UNIT = "end-to-end", "images/s"


def end_to_end(setting: Setting) -> Iterator[Row]:
    """Shards on a disk through Ray Data and into the training step, by the clock on the wall; on CPUs all of
    them compute steps while the feed works beside. The ceiling is the same steps fed from memory, rounds of
    both taking turns."""
    return end_to_end_rows(default_assets(), setting)


def end_to_end_rows(assets: Assets, setting: Setting) -> Iterator[Row]:
    """As `end_to_end`, with other assets; starts a Ray where this process has none, and ends it."""
    started = not ray.is_initialized()
    if started:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        with TemporaryDirectory() as folder:
            source = Source(uri=folder, content=make_shards(folder, assets, "raw", shards=_SHARDS))
            yield from _alone(source, setting)
            for name in setting.networks:
                yield _fed(source, name, setting)
    finally:
        if started:
            ray.shutdown()


def _alone(source: Source, setting: Setting) -> Iterator[Row]:
    """What Ray Data brings where nobody computes: by the clock, and by the CPU time of all its processes."""
    rates: dict[str, list[float]] = {"feed alone": [], "feed alone, a core": []}
    with closing(_packs(_packer(source, setting.networks[0]), torch.device(setting.device))) as packs:
        next(packs)
        for _ in range(setting.rounds):
            cpu, clock, images = tree_seconds(), time.perf_counter(), 0
            while not images or time.perf_counter() - clock < setting.seconds:
                images += next(packs).batch.count
            spent = time.perf_counter() - clock, max(tree_seconds() - cpu, 1e-3)
            for found, seconds in zip(rates.values(), spent, strict=True):
                found.append(images / seconds)
    for name, found in rates.items():
        yield row(_STAGE, name, _UNIT, _summary(found))


def _fed(source: Source, name: str, setting: Setting) -> Row:
    device = torch.device(setting.device)
    network = channels_last(seeded(NETWORKS[name], LATIN94.num_classes, seed=0).to(device))
    learner = Learner(network, OptimizerConfig(), precision="auto")
    rates: dict[str, list[float]] = {"memory": [], "fed": []}
    threads = 1 if device.type == "cuda" else available_cpus()
    with closing(_packs(_packer(source, name), device)) as fed, torch_threads(threads):
        memory = cycle(list(islice(fed, _IN_MEMORY)))
        _steps(learner, memory, setting.seconds, device)
        for _ in range(setting.rounds):
            rates["memory"].append(_steps(learner, memory, setting.seconds, device))
            rates["fed"].append(_steps(learner, fed, setting.seconds, device))
    ceiling = median(rates["memory"])
    return row(
        _STAGE, name, _UNIT, _summary(rates["fed"]), ceiling=ceiling, bound="the same steps from memory"
    )


def _steps(learner: Learner, packs: Iterator[Pack], seconds: float, device: torch.device) -> float:
    """Images a second of steps for so many seconds, at least one."""
    wait_for(device)
    began, images = time.perf_counter(), 0
    while True:
        batch = next(packs).batch
        learner.step(batch, global_count=batch.count, progress=0.5)
        images += batch.count
        if time.perf_counter() - began >= seconds:
            break
    wait_for(device)
    return images / (time.perf_counter() - began)


def _packer(source: Source, network: str) -> Packer:
    rules = LabelRules(charset=LATIN94, preprocess=PreprocessConfig(), network=NETWORKS[network])
    return Packer(sources=(source,), rules=rules, pack_columns=PACK_COLUMNS, seed=7)


def _packs(packer: Packer, device: torch.device) -> Generator[Pack, None, None]:
    """As a training worker gets them."""
    rows = [shard.rows for shard in packer.manifest.shards]
    windows = plan_windows(rows, images=_IMAGES, window_rows=_WINDOW_ROWS, seed=7)
    feed = training_feed(packer, windows, Position())
    (share,) = UnevenSplit().configure({"train": feed}, 1, None, None)
    height = packer.rules.preprocess.height
    for table in share["train"].iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=4):
        yield Pack.from_table(table, height, device)


def _summary(rates: list[float]) -> Rate:
    return Rate(median=median(rates), low=min(rates), high=max(rates))
