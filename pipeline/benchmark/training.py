"""How fast training is fed and how fast it steps, each alone: the slower one is what a run can reach."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import pyarrow as pa
import torch

from crnn.charset import LATIN94
from crnn.model import NETWORKS, forward_flops, seeded
from crnn.precision import Precision
from crnn.preprocess import PreprocessConfig, decode_image
from crnn.training import Batch, Learner, OptimizerConfig
from pipeline.benchmark.measure import (
    Row,
    Setting,
    computations,
    fair_clock,
    rate,
    row,
    torch_threads,
    wait_for,
)
from pipeline.labels import LabelRules
from pipeline.manifest import Manifest
from pipeline.order import Window
from pipeline.packing import Packer, Source
from pipeline.shards import write_shard
from pipeline.synthesis.asset_builder import default_assets
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import scene
from pipeline.synthesis.generator import Generator

WIDTH = 100
"""Pixels of the images, as in the paper's training."""
_CODINGS: tuple[Literal["jpeg", "raw"], ...] = ("jpeg", "raw")
_ROWS = 1_024
_COLUMNS = 12_800
_IMAGES = {"cpu": 64, "cuda": 2_048}
_LETTERS = 6
_UNIT = "images/s"


def feed(setting: Setting) -> Iterator[Row]:
    """A shard of words on a disk to packs of equal width, by one core; decoding alone is the ceiling."""
    return feed_rows(default_assets(), setting)


def feed_rows(assets: Assets, setting: Setting) -> Iterator[Row]:
    """As `feed`, with other assets."""
    for coding in _CODINGS:
        table = Generator(replace(scene(), coding=coding), assets, "train", 7).shard(0, _ROWS)
        yield from _feed(table, coding, setting)


def _feed(table: pa.Table, coding: str, setting: Setting) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        manifest = Manifest(shards=(write_shard(folder, 0, table),))
        rules = LabelRules(charset=LATIN94, preprocess=PreprocessConfig(), network=NETWORKS["paper"])
        packer = Packer(
            sources=(Source(uri=folder, content=manifest),), rules=rules, pack_columns=_COLUMNS, seed=7
        )
        images = table.column("image").to_pylist()
        window = Window.whole(index=0, epoch=0, shards=[0])

        def pack() -> int:
            return sum(table["count"][0].as_py() for table in packer.packs(window))

        def decode() -> int:
            for data in images:
                decode_image(data)
            return len(images)

        bare = rate(decode, setting, time.process_time)
        found = rate(pack, setting, time.process_time)
        told = f"{coding} shard to packs"
        yield row("feed", told, _UNIT, found, ceiling=bare.median, bound="decoding alone")


def step(setting: Setting) -> Iterator[Row]:
    """One optimiser step after the other from memory; a matrix product of three forward passes' work is the
    ceiling, since gradients of inputs and of weights cost as much as the forward pass each."""
    device = torch.device(setting.device)
    for precision, threads, flops, manner in computations(setting):
        for name in setting.networks:
            with torch_threads(threads):
                found = rate(_steps(name, device, precision), setting, fair_clock(device, threads))
            work = 3 * forward_flops(NETWORKS[name], LATIN94.num_classes, WIDTH)
            told = f"{name} {manner}"
            yield row("step", told, _UNIT, found, ceiling=flops / work, bound="matrix product")


def _steps(name: str, device: torch.device, precision: Precision) -> Callable[[], int]:
    """Trains on one batch of noise, a step at each call."""
    network = seeded(NETWORKS[name], LATIN94.num_classes, seed=0).to(device)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner = Learner(network, network, OptimizerConfig(), precision=precision)
    count, generator = _IMAGES[device.type], np.random.default_rng(0)
    pixels = generator.integers(0, 256, (count, 1, NETWORKS[name].height, WIDTH), np.uint8)
    targets = generator.integers(1, LATIN94.num_classes, count * _LETTERS, np.int32)
    batch = Batch(
        images_NCHW=torch.from_numpy(pixels).to(device),
        targets=torch.from_numpy(targets).to(device),
        target_lengths=torch.full((count,), _LETTERS, dtype=torch.int32),
    )

    def work() -> int:
        learner.step(batch, global_count=count, progress=0.5)
        wait_for(device)
        return count

    return work
