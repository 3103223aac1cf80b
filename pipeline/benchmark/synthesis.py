"""How fast words become pictures: whole shards of each preset, each stage alone, two processes beside one.

And starting: from nothing but the packages to the first picture.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import cv2
import numpy as np

from pipeline.benchmark.measure import Rate, Row, Setting, rate, row
from pipeline.synthesis.asset_builder import default_assets
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.degrade import encode
from pipeline.synthesis.generator import Generator
from pipeline.synthesis.presets import PRESETS, scene
from pipeline.synthesis.render import Renderer

_ROWS = 256
_STAGE, _UNIT = "synthesise", "images/s"
_PARTS = (
    ("setting letters", "typesetter", "page"),
    ("styles", "stylist", "ink"),
    ("choosing a view", "lens", "view"),
    ("the warp", "lens", "take"),
    ("grey levels", "painter", "paint"),
    ("the camera", "camera", "degrade"),
)
"""What is told, and the renderer's part and method that does it."""


def synthesis(setting: Setting) -> Iterator[Row]:
    """Words to compressed pictures with the assets of out/assets, by one core.

    The ceiling is OpenCV's work for a picture of the usual size that has but a warp, a blend, noise and JPEG.
    """
    return synthesis_rows(default_assets(), setting)


def synthesis_rows(assets: Assets, setting: Setting) -> Iterator[Row]:
    """As `synthesis`, with other assets."""
    generators = {name: Generator(preset(), assets, "train", 7) for name, preset in PRESETS.items()}
    bare = rate(_bare, setting, time.process_time)
    for name, generator in generators.items():
        found = rate(partial(_shard, generator), setting, time.process_time)
        yield row(_STAGE, name, _UNIT, found, ceiling=bare.median, bound="OpenCV's bare work")
    yield from _stages(generators["scene"], setting)
    yield _two_processes(assets.uri, setting)
    starts = rate(partial(_start, assets.uri), setting, time.process_time)
    yield row(_STAGE, "starts of a generator, assets mapped", "starts/s", starts)


def _start(assets: str) -> int:
    """As a worker that has its packages and takes its first shard."""
    Generator(scene(), Assets.open(assets), "train", 7).shard(0, 1)
    return 1


def _shard(generator: Generator) -> int:
    made: int = generator.shard(0, _ROWS).num_rows
    return made


def _bare() -> int:
    canvas, matrix = np.full((116, 260), 255, np.uint8), np.array([[0.4, 0, 0], [0, 0.4, 0], [0, 0, 1]])
    ground = np.full((32, 104), 100, np.float32)
    for _ in range(_ROWS):
        mask = cv2.warpPerspective(canvas, matrix, (104, 32))
        cover = cv2.multiply(mask, 1, scale=1 / 255, dtype=cv2.CV_32F)
        noisy = cv2.addWeighted(ground + (200 - ground) * cover, 1.0, ground, 0.1, 0.0, dtype=cv2.CV_8U)
        encode(noisy, 80)
    return _ROWS


def _stages(generator: Generator, setting: Setting) -> Iterator[Row]:
    """Each stage of `scene`: pictures a second if there were no other."""
    spent: dict[str, list[float]] = {told: [] for told, _, _ in _PARTS}
    renderer = generator.renderer
    for told, part, method in _PARTS:
        _clock(renderer, part, method, spent[told])
    samples = []
    for shard in range(setting.rounds):
        for times in spent.values():
            times.append(0.0)
        samples = list(generator.samples(shard, _ROWS))
    for told, times in spent.items():
        rates = sorted(_ROWS / max(seconds, 1e-9) for seconds in times)
        found = Rate(median=rates[len(rates) // 2], low=rates[0], high=rates[-1])
        yield row(_STAGE, f"scene, {told} alone", _UNIT, found)
    pictures = [(sample.picture.image, sample.picture.quality) for sample in samples]

    def compress() -> int:
        for image, quality in pictures:
            encode(image, quality)
        return len(pictures)

    yield row(_STAGE, "scene, JPEG alone", _UNIT, rate(compress, setting, time.process_time))


def _clock(renderer: Renderer, part: str, method: str, times: list[float]) -> None:
    """Adds to the last of `times` what calls of a part's method take from now on."""
    owner = getattr(renderer, part)
    work: Callable[..., Any] = getattr(owner, method)

    def clocked(*arguments: Any) -> Any:
        began = time.perf_counter()
        result = work(*arguments)
        times[-1] += time.perf_counter() - began
        return result

    setattr(owner, method, clocked)


def _two_processes(assets: str, setting: Setting) -> Row:
    """Both at once, by the clock on the wall; twice what one does alone is the ceiling."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        alone = pool.submit(_wall_rate, assets, setting).result()
        both = [running.result() for running in [pool.submit(_wall_rate, assets, setting) for _ in range(2)]]
    found = Rate(
        median=sum(rate.median for rate in both),
        low=sum(rate.low for rate in both),
        high=sum(rate.high for rate in both),
    )
    return row(
        _STAGE, "scene in two processes", _UNIT, found, ceiling=2 * alone.median, bound="twice one process"
    )


def _wall_rate(assets: str, setting: Setting) -> Rate:
    return rate(partial(_shard, Generator(scene(), Assets.open(assets), "train", 7)), setting)
