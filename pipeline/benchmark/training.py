"""How fast training is fed and how fast it steps, each alone: the slower one is what a run can reach."""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from tempfile import TemporaryDirectory
from typing import Literal
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from crnn.charset import LATIN94
from crnn.model import channels_last, forward_flops, seeded
from crnn.networks import NETWORKS
from crnn.optimizer import OptimizerConfig
from crnn.precision import Precision
from crnn.preprocess import PreprocessConfig, decode_image
from crnn.training import Batch, Learner
from pipeline.benchmark.measure import (
    Rate,
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
from pipeline.order import Part, Window
from pipeline.packing import Packer, Source
from pipeline.shards import read_shard, write_shard
from pipeline.synthesis.asset_builder import default_assets
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.generator import Generator
from pipeline.synthesis.presets import scene
from pipeline.synthesis.stream import Stream

WIDTH = 100
"""Pixels of the images, as in the paper's training."""
PACK_COLUMNS = 12_800
Coding = Literal["jpeg", "png", "raw"]
_CODINGS: tuple[Coding, ...] = ("jpeg", "png", "raw")
_ROWS = 1_024
_WINDOW_ROWS = 16_384
_IMAGES = {"cpu": 64, "cuda": 2_048}
_LETTERS = 6
_FEED, _UNIT = "feed", "images/s"


def feed(setting: Setting) -> Iterator[Row]:
    """A shard of words on a disk, or words that are only drawn then, to packs of equal width, by one core;
    decoding or drawing alone is the ceiling. Besides, how many images of each coding a megabyte of Parquet
    under zstd holds, and the share of the packs' pixels that isn't padding."""
    return feed_rows(default_assets(), setting)


def feed_rows(assets: Assets, setting: Setting) -> Iterator[Row]:
    """As `feed`, with other assets."""
    for coding in _CODINGS:
        with TemporaryDirectory() as folder:
            manifest = make_shards(folder, assets, coding)
            source = Source(uri=folder, content=manifest)
            images = read_shard(folder, manifest.shards[0], ["image"])["image"].to_pylist()
            bare = rate(partial(_decode, images), setting, time.process_time)
            window = Window.whole(index=0, epoch=0, shards=[0])
            found = rate(partial(_pack, source, window), setting, time.process_time)
            told = f"{coding} shard to packs"
            yield row(_FEED, told, _UNIT, found, ceiling=bare.median, bound="decoding alone")
            size = manifest.rows / (manifest.shards[0].bytes / 1e6)
            yield row(_FEED, f"{coding} shard", "images/MB", Rate(median=size, low=size, high=size))
    yield from _stream(assets, setting)


def make_shards(folder: str, assets: Assets, coding: Coding, shards: int = 1) -> Manifest:
    """A data set of `scene`, of 1,024 words a shard."""
    pictures = replace(scene(), coding="jpeg" if coding == "jpeg" else "raw")
    generator = Generator(pictures, assets, "train", 7)
    made = []
    for number in range(shards):
        table = generator.shard(number, _ROWS)
        if coding == "png":
            coded = pa.array(map(_png, table["image"].to_pylist()), pa.binary())
            table = table.set_column(table.column_names.index("image"), "image", coded)
        made.append(write_shard(folder, number, table))
    return Manifest(shards=tuple(made))


def _stream(assets: Assets, setting: Setting) -> Iterator[Row]:
    stream = Stream.open(f"synth://scene?assets={quote(assets.uri)}&seed=7", LATIN94)
    source = Source(uri=stream.uri, content=stream)

    def draw() -> int:
        return sum(1 for _ in islice(stream.shard(0), _ROWS))

    bare = rate(draw, setting, time.process_time)
    window = Window(index=0, parts=(Part(shard=0, epoch=0, stop=_ROWS),))
    found = rate(partial(_pack, source, window), setting, time.process_time)
    yield row(_FEED, "stream to packs", _UNIT, found, ceiling=bare.median, bound="drawing alone")
    useful = _useful(stream)
    told = Rate(median=useful, low=useful, high=useful)
    yield row(_FEED, "pixels that aren't padding", "%", told, ceiling=100.0, bound="no padding")


def _useful(stream: Stream) -> float:
    """Percentage of pixels in the packs of a window that are images'."""
    rows, geometry = islice(stream.shard(0), _WINDOW_ROWS), PreprocessConfig()
    scaled = [geometry.scaled_width(row["width"], row["height"]) for row in rows]
    return 100.0 * sum(scaled) / sum(map(geometry.canonical_width, scaled))


def _packer(source: Source) -> Packer:
    rules = LabelRules(charset=LATIN94, preprocess=PreprocessConfig(), network=NETWORKS["paper"])
    return Packer(sources=(source,), rules=rules, pack_columns=PACK_COLUMNS, seed=7)


def _pack(source: Source, window: Window) -> int:
    return sum(table["count"][0].as_py() for table in _packer(source).packs(window))


def _decode(images: Sequence[bytes]) -> int:
    for data in images:
        decode_image(data)
    return len(images)


def _png(raw: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(decode_image(raw)).save(buffer, "PNG")
    return buffer.getvalue()


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
    network = channels_last(seeded(NETWORKS[name], LATIN94.num_classes, seed=0).to(device))
    learner = Learner(network, OptimizerConfig(), precision=precision)
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
