"""Surfaces that words are painted on: made by formulas, or cut from a folder of photographs.

Shapes: T tiles, H = 96, W = 640 pixels, grey.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.synthesis.assets import Bytes
from pipeline.synthesis.face_reader import Exclusion

HEIGHT, WIDTH = 96, 640
TILES_PER_PHOTOGRAPH = 4
_PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
_CLOSEST = 2.5
"""How many times a strip may be magnified over one that shows the photograph's whole width."""

Field = npt.NDArray[Any]
"""H × W floating-point grey levels, not cut off yet."""


def procedural_textures(count: int, seed: int) -> Bytes:
    """T × H × W: tile i depends on the seed and i alone; more tiles leave the first ones as they were."""
    tiles = np.empty((count, HEIGHT, WIDTH), np.uint8)
    for i in range(count):
        rng = np.random.Generator(np.random.Philox(key=[seed, i]))
        field = _MAKERS[i % len(_MAKERS)](rng).astype(np.float32)
        tiles[i] = _grey(cv2.GaussianBlur(field, (0, 0), rng.uniform(0.3, 1.5)))
    return tiles


def photograph_textures(folder: str, seed: int) -> tuple[Bytes, list[Exclusion]]:
    """Strips of all photographs in a folder, and those that couldn't be used.

    Raises:
        ConfigError: It isn't a folder, or none of its files can be used.
    """
    place = Path(folder).expanduser()
    if not place.is_dir():
        raise ConfigError(f"{folder} isn't a folder of photographs on this machine. Check --photographs.")
    tiles: list[Bytes] = []
    exclusions: list[Exclusion] = []
    for path in sorted(path for path in place.rglob("*") if path.suffix.lower() in _PHOTOGRAPHS):
        name = path.relative_to(place).as_posix()
        try:
            with Image.open(path) as image:
                grey = np.asarray(image.convert("L"))
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            exclusions.append(Exclusion(name=name, reason="broken photograph", detail=str(error)))
            continue
        if grey.shape[0] < HEIGHT or grey.shape[1] < WIDTH // 2:
            detail = f"{grey.shape[1]} × {grey.shape[0]} pixels"
            exclusions.append(Exclusion(name=name, reason="small photograph", detail=detail))
            continue
        rng = np.random.Generator(np.random.Philox(key=[seed, len(tiles)]))
        tiles += [_strip(grey, rng) for _ in range(TILES_PER_PHOTOGRAPH)]
    if not tiles:
        raise ConfigError(
            f"{folder} holds no usable photographs ({len(exclusions)} broken, or smaller than "
            f"{WIDTH // 2} × {HEIGHT}). Give another folder, or leave --photographs out."
        )
    return np.stack(tiles), exclusions


def _strip(grey: Bytes, rng: np.random.Generator) -> Bytes:
    height, width = grey.shape
    least = max(WIDTH / width, HEIGHT / height)
    scale = max(least, min(least * rng.uniform(1, _CLOSEST), 1.0))  # enlarged no more than it must be
    across, down = round(WIDTH / scale), round(HEIGHT / scale)
    left, top = rng.integers(0, width - across + 1), rng.integers(0, height - down + 1)
    part = np.ascontiguousarray(grey[top : top + down, left : left + across])
    how = cv2.INTER_AREA if scale <= 1 else cv2.INTER_LINEAR
    return _grey(cv2.resize(part, (WIDTH, HEIGHT), interpolation=how))


def _grey(field: Field) -> Bytes:
    return np.clip(field, 0, 255).astype(np.uint8)


def _spectral(rng: np.random.Generator, slope: float) -> Field:
    """Noise whose amplitude falls as 1 / frequency**slope; mean 0, standard deviation 1."""
    fy, fx = np.fft.fftfreq(HEIGHT)[:, None], np.fft.rfftfreq(WIDTH)[None]
    frequency = np.sqrt(fy * fy + fx * fx)
    frequency[0, 0] = 1
    phases = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    spectrum = phases / frequency**slope
    spectrum[0, 0] = 0
    field = np.fft.irfft2(spectrum, (HEIGHT, WIDTH))
    scaled: Field = field / field.std()
    return scaled


def _grid() -> tuple[Field, Field]:
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    return x, y


def _dead_leaves(rng: np.random.Generator) -> Field:
    """Discs, boxes and polygons over one another, small ones far more often, as things are in photographs."""
    field = np.full((HEIGHT, WIDTH), rng.uniform(0, 255), np.float32)
    count = int(rng.integers(40, 400))
    least, most = rng.uniform(2, 6), rng.uniform(20, 80)
    radii = (least**-2 - (least**-2 - most**-2) * rng.random(count)) ** -0.5
    for radius in radii.tolist():
        grey = float(np.clip(rng.normal(128, 60), 0, 255))
        x, y = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT))
        shape = int(rng.integers(3))
        if shape == 0:
            cv2.circle(field, (x, y), int(radius), grey, -1, cv2.LINE_AA)
            continue
        if shape == 1:
            box = (float(x), float(y)), (radius * rng.uniform(0.5, 4), radius), rng.uniform(0, 180)
            corners = cv2.boxPoints(box)
        else:
            angles = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 8))))
            corners = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], 1)
        cv2.fillPoly(field, [corners.astype(np.int32)], grey, cv2.LINE_AA)
    return field + _spectral(rng, rng.uniform(0.5, 1.2)) * rng.uniform(2, 15)


def _clouds(rng: np.random.Generator) -> Field:
    return 128 + _spectral(rng, rng.uniform(0.6, 2.0)) * rng.uniform(15, 45)


def _stripes(rng: np.random.Generator) -> Field:
    """Straight or wavering, hard or soft: boards, blinds, corrugated iron."""
    x, y = _grid()
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 40)
    wavering = _spectral(rng, 1.6) * rng.uniform(0, 3)
    wave = np.sin((x * np.cos(angle) + y * np.sin(angle) + wavering) / period * 2 * np.pi)
    if rng.random() < 0.4:
        wave = np.sign(wave)
    striped: Field = 128 + wave * rng.uniform(10, 60) + _spectral(rng, 1) * 8
    return striped


def _bricks(rng: np.random.Generator) -> Field:
    x, y = _grid()
    high, wide = int(rng.integers(10, 28)), int(rng.integers(20, 70))
    row = (y // high).astype(int)
    shifted = x + (row % 2) * wide / 2
    column = (shifted // wide).astype(int)
    greys = rng.normal(128, rng.uniform(5, 30), (HEIGHT // high + 2, WIDTH // wide + 3))
    joint = (y % high < 2) | (shifted % wide < 2)
    field = np.where(joint, rng.uniform(20, 235), greys[row, column])
    grained: Field = field + _spectral(rng, 0.8) * rng.uniform(3, 15)
    return grained


def _slope(rng: np.random.Generator) -> Field:
    """A smooth surface in slanting light."""
    x, y = _grid()
    across, down = rng.normal(size=2)
    field = 128 + (across * (x / WIDTH - 0.5) + down * (y / HEIGHT - 0.5)) * 120
    lit: Field = field + _spectral(rng, rng.uniform(0, 1)) * rng.uniform(0, 6)
    return lit


def _blotches(rng: np.random.Generator) -> Field:
    """Two greys with ragged borders: peeling paint, camouflage, marble."""
    patches = np.sign(_spectral(rng, rng.uniform(1, 1.8)) + rng.normal() * 0.5)
    field: Field = 128 + patches * rng.uniform(10, 50) + _spectral(rng, 0.5) * rng.uniform(2, 12)
    return field


_MAKERS: Sequence[Callable[[np.random.Generator], Field]] = (
    _dead_leaves,
    _dead_leaves,
    _dead_leaves,
    _clouds,
    _stripes,
    _bricks,
    _slope,
    _blotches,
)
"""Tile i is made by maker i modulo their number: dead leaves are nearest to photographs, so they lead."""
