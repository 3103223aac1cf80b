"""Further looks at a line image: what they show of it, and how wide they are."""

import numpy as np
import pytest
from PIL import Image

from crnn.looks import further_looks
from crnn.preprocess import PAD_GREY, PreprocessConfig, line_image


@pytest.mark.parametrize("height", [32, 48])
def test_a_nearer_look_leaves_out_what_is_at_the_top_and_bottom_and_keeps_the_columns(height: int) -> None:
    line = np.full((height, 120), 200, np.uint8)
    line[:2] = line[-2:] = 0
    line[height // 4 : -height // 4, 30:50] = 10
    nearer, _ = further_looks(line, PreprocessConfig(height=height))
    assert nearer.shape == line.shape
    assert nearer[:, :25].min() > 190
    dark = nearer[:, 40] < 100
    assert dark.sum() == pytest.approx(height / 2 * 32 / 26, abs=2)
    assert np.flatnonzero((nearer < 100).any(axis=0)).tolist() == list(range(30, 50))


def test_a_wider_look_stretches_the_columns_and_pads_as_any_line_image() -> None:
    config = PreprocessConfig()
    line = np.random.default_rng(0).integers(0, 256, (4, 13), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    _, wider = further_looks(line, config)
    assert wider.shape == (32, config.canonical_width(130))
    assert (wider[:, 130:] == PAD_GREY).all()
    again = Image.fromarray(wider[:, :130]).resize((104, 28), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(again).astype(int) - line[2:-2]).mean() < 10


def test_what_is_too_wide_to_be_widened_is_only_looked_at_nearer() -> None:
    config = PreprocessConfig(max_width=128)
    assert [look.shape[1] for look in further_looks(np.zeros((32, 128), np.uint8), config)] == [128]
    assert [look.shape[1] for look in further_looks(np.zeros((32, 96), np.uint8), config)] == [96, 120]


def test_looks_keep_the_contrast_and_the_padding_that_the_line_has() -> None:
    """Evened again with its padding, a picture without a word would be blown up to one."""
    config = PreprocessConfig(widening=0)
    noise = np.random.default_rng(7).normal(120, 1, (32, 60)).round().astype(np.uint8)
    line = line_image(noise, config)
    assert line.shape[1] > 60
    for look, end in zip(further_looks(line, config), (60, round(1.25 * 60)), strict=True):
        assert look[:, :end].std() < 1.1 * line[:, :60].std()
        assert (look[:, end + 3 :] == PAD_GREY).all()
