from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import Chances, SynthesisConfig
from pipeline.synthesis.draws import WIDTH
from pipeline.synthesis.effects import effect_names
from pipeline.synthesis.geometry import Lens, View
from pipeline.synthesis.layout import Page, Typesetter
from pipeline.synthesis.presets import PRESETS
from pipeline.synthesis.strengths import Strengths
from tests.draws import calm

WORDS = ("word", "Ag", "INTERNATIONAL", "i", "3.50", "mmmmmmmmmmmmmmmmmmmmmmmm")


def pages(assets: Assets) -> list[Page]:
    typesetter = Typesetter(SynthesisConfig(chances=Chances.none()), assets)
    found = [typesetter.page(word, "x", 1, calm()) for word in WORDS]
    return [page for page in found if page is not None]


def seen_at(page: Page, view: View) -> np.ndarray:
    """Where the canvas's inked pixels are in the picture, [N, 2], found from canvas to picture: the other way
    round than the warp works."""
    rows, columns = np.nonzero(page.canvas > 128)
    matrix = cv2.getPerspectiveTransform(view.source, view.target)
    points = np.stack([columns, rows], 1).astype(np.float32)[None] + 0.5
    x, y = cv2.perspectiveTransform(points, matrix)[0].T
    along = 2 * x / view.width - 1
    return np.stack([x, y + view.bend * along**2], 1)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("height", [32, 48])
def test_no_ink_is_cut_off_beyond_the_margin_that_the_config_allows(
    tiny_assets: str, preset: str, height: int
) -> None:
    config = replace(PRESETS[preset](), height=height)
    lens, some = Lens(config), pages(Assets.open(tiny_assets))
    rows = np.random.Generator(np.random.Philox(5)).random((1_000, WIDTH)).tolist()
    allowed, seen = -min(config.strengths.margin[0], 0) * height * 1.1 + 1.0, set()
    for i, u in enumerate(rows):
        page = some[i % len(some)]
        view = lens.view(page, u)
        if view is None:
            continue
        points = seen_at(page, view)
        size = np.array([view.width, height])
        assert points.min() > -allowed, (i, points.min())
        assert (points - size).max() < allowed, (i, (points - size).max(axis=0))
        assert view.text_height >= config.strengths.least_height * height / 32
        assert 12 <= view.width <= config.max_width
        seen.update(effect_names(view.effects))
    assert seen == {
        name
        for name in ("rotation", "shear", "stretch", "perspective", "oblique", "curve", "elastic")
        if getattr(config.chances, name)
    }


@pytest.mark.parametrize("bend", [0.2, 0.5, 0.9])
def test_ink_in_the_picture_is_where_the_forward_map_says(tiny_assets: str, bend: float) -> None:
    config = SynthesisConfig(chances=Chances().only(("rotation", "shear", "perspective", "curve")))
    lens = Lens(config)
    u = calm(rotation=(0.0, 0.6, 0.6, 0.6), shear=(0.0, 0.7, 0.6), perspective=(0.0, 0.8), curve=(0.0, bend))
    for page in pages(Assets.open(tiny_assets))[:5]:
        view = lens.view(page, u)
        assert view is not None
        image = lens.take([page.canvas], view, u)[0]
        assert image.shape == (config.height, view.width)
        x, y = seen_at(page, view).T.astype(np.float32) - 0.5
        there = cv2.remap(image, x[None], y[None], cv2.INTER_LINEAR)
        assert there.mean() > 150, page.label
        assert (there > 60).mean() > 0.9, page.label


def test_without_effects_a_word_stands_upright_and_keeps_its_aspect(tiny_assets: str) -> None:
    config = SynthesisConfig(chances=Chances.none(), strengths=Strengths(margin=(0.0, 0.0)))
    lens = Lens(config)
    for page in pages(Assets.open(tiny_assets))[:5]:
        view = lens.view(page, calm())
        assert view is not None
        left, top, right, bottom = page.box
        width = max(12, (right - left) * config.height / (bottom - top))
        assert view.width == pytest.approx(width, abs=1)
        assert view.text_height == pytest.approx(config.height, abs=1e-3)
        assert not view.effects


def test_a_taller_picture_is_the_same_view_with_more_pixels(tiny_assets: str) -> None:
    u = calm(rotation=(0.0, 0.4, 0.6, 0.6), curve=(0.0, 0.7))
    for page in pages(Assets.open(tiny_assets))[:5]:
        small, large = (Lens(SynthesisConfig(height=height)).view(page, u) for height in (32, 64))
        assert small is not None
        assert large is not None
        assert large.text_height == pytest.approx(2 * small.text_height)
        assert large.width == pytest.approx(2 * small.width, abs=1)
        assert large.bend == pytest.approx(2 * small.bend)


def test_a_text_too_wide_or_too_low_for_its_picture_has_no_view(tiny_assets: str) -> None:
    page = next(page for page in pages(Assets.open(tiny_assets)) if page.label == WORDS[-1])
    assert Lens(SynthesisConfig()).view(page, calm()) is not None
    assert Lens(SynthesisConfig(max_width=256)).view(page, calm()) is None
    steep = calm(rotation=(0.0, 1.0, 1.0, 1.0, 0.9))
    assert Lens(SynthesisConfig(strengths=Strengths(least_height=30.0))).view(page, steep) is None


def test_long_words_turn_less_than_short_ones(tiny_assets: str) -> None:
    config = SynthesisConfig(chances=Chances().only(("rotation",)))
    u, angle = calm(rotation=(0.0, 1.0, 1.0, 1.0, 0.0)), {}
    for page in pages(Assets.open(tiny_assets)):
        view = Lens(config).view(page, u)
        assert view is not None
        (x1, y1), (x2, y2) = view.target[:2].tolist()
        angle[page.label] = np.degrees(np.arctan2(y2 - y1, x2 - x1))
    assert angle["Ag"] == pytest.approx(config.strengths.rotation, abs=0.5)
    assert angle[WORDS[-1]] < 0.5 * angle["Ag"]


@pytest.mark.parametrize("margin", [0.0, 0.3, 0.9])
def test_a_neighbours_margin_is_kept_whatever_margin_is_drawn(tiny_assets: str, margin: float) -> None:
    page = pages(Assets.open(tiny_assets))[0]
    lens = Lens(SynthesisConfig(chances=Chances.none()))
    view = lens.view(replace(page, extra=(11.0, 0.0, 9.0, 0.0)), calm(margins=(margin,) * 4))
    assert view is not None
    left, top = view.target[0] * np.array(view.shrink)
    assert left == pytest.approx(11.0, abs=0.6)
    assert top == pytest.approx(9.0, abs=0.6)


@pytest.mark.parametrize("draw", [0.7, 0.9])
def test_perspective_brings_no_more_of_a_neighbour_into_view(tiny_assets: str, draw: float) -> None:
    """Found from the picture's edge back to the canvas: at its far end a margin shows twice as much."""
    config = SynthesisConfig(chances=replace(Chances.none(), perspective=1.0, shear=0.5, oblique=0.3))
    lens, typesetter = Lens(config), Typesetter(SynthesisConfig(), Assets.open(tiny_assets))
    some = [typesetter.page(word, "WW", 1, calm(neighbour=(0.0, draw, 0.5, 0.999))) for word in WORDS[:5]]
    rows = np.random.Generator(np.random.Philox(6)).random((1_000, WIDTH)).tolist()
    seen = 0
    for i, u in enumerate(rows):
        page = some[i % len(some)]
        assert page is not None
        view = lens.view(page, u)
        if view is None:
            continue
        behind = page.extra[1] > 0
        edge = float(view.width) if behind else 0.0
        ends = view.target[[1, 2] if behind else [0, 3], 1]  # as high as the text is at this side
        inverse = cv2.getPerspectiveTransform(view.target, view.source)
        back = cv2.perspectiveTransform(np.array([[[edge, y] for y in ends]], np.float32), inverse)[0, :, 0]
        left, _, right, _ = page.box
        shown = back.mean() - right if behind else left - back.mean()
        assert shown < 1.5 * max(page.extra) + 3.0, i
        seen += shown > 0.3 * max(page.extra)
    assert seen > 300


def test_an_underline_is_in_the_picture_however_narrow_the_margin_drawn(tiny_assets: str) -> None:
    page = pages(Assets.open(tiny_assets))[0]
    lens = Lens(SynthesisConfig(chances=Chances.none()))
    for below, margin in ((8, 0.0), (1, 0.9)):
        view = lens.view(replace(page, below=below), calm(margins=(margin,) * 4))
        assert view is not None
        assert (32 - view.target[2, 1]) * view.shrink[1] >= below - 0.6


def test_cloth_gets_room_for_its_waves(tiny_assets: str) -> None:
    config = SynthesisConfig(chances=Chances().only(("elastic",)), strengths=Strengths(margin=(0.0, 0.0)))
    for page in pages(Assets.open(tiny_assets))[:5]:
        for height in (0.0, 0.999):
            view = Lens(config).view(page, calm(elastic=(0.0, height, 0.5, 0.5)))
            assert view is not None
            displaced = (0.02 + 0.054 * height) * view.text_height
            assert view.target.min() > 1.2 * displaced
            assert (np.array([view.width, 32]) - view.target).min() > 1.2 * displaced
