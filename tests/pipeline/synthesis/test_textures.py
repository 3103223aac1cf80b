"""pipeline.synthesis.textures: surfaces by formulas, and strips of photographs."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.synthesis.textures import (
    HEIGHT,
    TILES_PER_PHOTOGRAPH,
    WIDTH,
    photograph_textures,
    procedural_textures,
)


def photograph(path: Path, width: int = 900, height: int = 600) -> Path:
    """A ramp in both directions: each strip's greys say where it was cut and how much it was enlarged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y, x = np.mgrid[:height, :width]
    grey = (x * 128 / width + y * 127 / height).astype(np.uint8)
    Image.fromarray(np.dstack([grey] * 3)).save(path)
    return path


def test_a_tile_depends_on_the_seed_and_its_number_alone() -> None:
    tiles = procedural_textures(12, 7)
    assert tiles.shape == (12, HEIGHT, WIDTH)
    assert tiles.dtype == np.uint8
    assert np.array_equal(procedural_textures(5, 7), tiles[:5])
    assert not any(np.array_equal(*pair) for pair in zip(tiles[:5], procedural_textures(5, 8), strict=True))


def test_no_two_tiles_are_alike_and_none_is_flat_or_burnt_out() -> None:
    tiles = procedural_textures(16, 3)
    assert len({tile.tobytes() for tile in tiles}) == 16
    for tile in tiles:
        assert len(np.unique(tile)) > 10
        assert ((tile == 0) | (tile == 255)).mean() < 0.9


def test_photographs_give_strips_at_any_depth_and_the_same_every_time(tmp_path: Path) -> None:
    photograph(tmp_path / "a.png")
    photograph(tmp_path / "deep" / "b.JPG", 400, 3_000)
    tiles, exclusions = photograph_textures(str(tmp_path), 7)
    assert tiles.shape == (2 * TILES_PER_PHOTOGRAPH, HEIGHT, WIDTH)
    assert tiles.dtype == np.uint8
    assert exclusions == []
    assert np.array_equal(photograph_textures(str(tmp_path), 7)[0], tiles)
    assert not np.array_equal(photograph_textures(str(tmp_path), 8)[0], tiles)


def test_strips_are_parts_of_the_photograph_whole_in_neither_direction_nor_distorted(tmp_path: Path) -> None:
    photograph(tmp_path / "a.png", 1_280, 1_280)
    for tile in photograph_textures(str(tmp_path), 7)[0].astype(float):
        across = tile[:, -20:].mean() - tile[:, :20].mean()
        down = tile[-10:].mean() - tile[:10].mean()
        assert 20 < across < 135
        assert down / (HEIGHT - 10) == pytest.approx(across / (WIDTH - 20), rel=0.25)


def test_photographs_that_can_not_be_used_are_told_with_their_reason(tmp_path: Path) -> None:
    sound = photograph(tmp_path / "sound.png")
    photograph(tmp_path / "low.png", 900, HEIGHT - 1)
    photograph(tmp_path / "deep" / "narrow.png", WIDTH // 2 - 1, 900)
    (tmp_path / "cut.png").write_bytes(sound.read_bytes()[:500])
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "notes.txt").write_text("not asked for")
    tiles, exclusions = photograph_textures(str(tmp_path), 7)
    assert len(tiles) == TILES_PER_PHOTOGRAPH
    assert {exclusion.name: exclusion.reason for exclusion in exclusions} == {
        "low.png": "small photograph",
        "deep/narrow.png": "small photograph",
        "cut.png": "broken photograph",
        "text.jpg": "broken photograph",
    }
    assert f"900 × {HEIGHT - 1} pixels" in {exclusion.detail for exclusion in exclusions}


def test_what_is_no_folder_and_a_folder_without_photographs_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"isn't a folder of photographs .*--photographs"):
        photograph_textures(str(tmp_path / "none"), 7)
    photograph(tmp_path / "small.png", 50, 50)
    with pytest.raises(ConfigError, match=r"no usable photographs \(1 broken, or smaller"):
        photograph_textures(str(tmp_path), 7)
