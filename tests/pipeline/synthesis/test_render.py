from dataclasses import fields, replace

import cv2
import numpy as np
import pytest

from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import _EXCLUSIVE, Chances, SynthesisConfig
from pipeline.synthesis.draws import WIDTH
from pipeline.synthesis.effects import BIT, effect_names
from pipeline.synthesis.presets import PRESETS
from pipeline.synthesis.render import Rendered, Renderer, _resemblance
from pipeline.synthesis.split import Split, split_of
from pipeline.synthesis.strengths import _LIMITS, Strengths
from pipeline.synthesis.words import Words
from tests.draws import calm

WORDS = ("Word", "Agfa", "INTER", "Gully", "x2", "Quite")
NAMES = [f.name for f in fields(Chances)]
SOME = 60
"""Pictures that an effect is judged by."""
POLARITY = BIT["light_on_dark"]


@pytest.fixture
def assets(tiny_assets: str) -> Assets:
    return Assets.open(tiny_assets)


def rows(count: int) -> list[list[float]]:
    table: list[list[float]] = np.random.Generator(np.random.Philox(3)).random((count, WIDTH)).tolist()
    return table


def pictures(assets: Assets, config: SynthesisConfig) -> list[Rendered | None]:
    renderer = Renderer(config, assets, "train")
    return [renderer.render(WORDS[i % len(WORDS)], "next", u) for i, u in enumerate(rows(SOME))]


@pytest.fixture(scope="module")
def plain(tiny_assets: str) -> list[Rendered | None]:
    return pictures(Assets.open(tiny_assets), SynthesisConfig(chances=Chances.none()))


def test_without_effects_words_are_plain_and_easy_to_tell_from_their_ground(
    plain: list[Rendered | None],
) -> None:
    for i, picture in enumerate(plain):
        assert picture is not None
        assert picture.effects in (0, POLARITY)
        assert picture.label == WORDS[i % len(WORDS)]
        assert (picture.image.dtype == np.uint8, picture.image.shape[0]) == (True, 32)
        assert picture.contrast > 25  # thin strokes lose some of the 36 levels that they are drawn with
        assert picture.noise == 0
        # One grey level for the ground and one for the letters, and what lies between at the edges.
        levels = np.sort(np.bincount(picture.image.ravel(), minlength=256))[::-1]
        assert levels[:2].sum() > 0.3 * picture.image.size


@pytest.mark.parametrize("name", NAMES)
def test_an_effect_alone_changes_pictures_and_says_so_and_touches_no_other_draw(
    assets: Assets, plain: list[Rendered | None], name: str
) -> None:
    found = pictures(assets, SynthesisConfig(chances=Chances().only((name,))))
    marked = changed = drawn = 0
    for before, after in zip(plain, found, strict=True):
        if after is None or before is None:
            continue
        drawn += 1
        assert after.effects & ~POLARITY in (0, BIT[name])
        assert after.face == before.face
        different = after.image.shape != before.image.shape or (after.image != before.image).any()
        if after.effects & BIT[name]:
            marked, changed = marked + 1, changed + different
        else:
            assert not different
    assert drawn > 0.8 * SOME
    assert marked > 0.6 * drawn
    assert changed > 0.8 * marked


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("split", ["train", "validation"])
def test_every_picture_of_a_thousand_keeps_what_its_config_promises(
    assets: Assets, preset: str, split: Split
) -> None:
    config = PRESETS[preset]()
    renderer, strengths = Renderer(config, assets, split), config.strengths
    texts = Words(assets, config.words, split).sample(np.random.Generator(np.random.Philox(8)), 1_000)
    kept, seen = 0, 0
    for i, (text, u) in enumerate(zip(texts, rows(1_000), strict=True)):
        picture = renderer.render(text, texts[i - 1], u)
        if picture is None:
            continue
        kept, seen = kept + 1, seen | picture.effects
        height, width = picture.image.shape
        assert picture.label.casefold() == text.casefold()
        assert set(picture.label) <= set(assets.characters)
        assert split_of(picture.label) == split
        assert assets.faces[picture.face].split == split or config.designs == "all"
        assert (height, 12 <= width <= config.max_width) == (32, True)
        assert picture.contrast >= strengths.least_contrast + 0.8 * picture.noise
        assert 0.85 * strengths.least_height <= picture.text_height <= 1.1 * height
        assert strengths.quality[0] <= picture.quality <= strengths.quality[1]
        assert 0 <= picture.noise <= strengths.noise[1]
    assert kept > 900
    assert {name for name in effect_names(seen) if name != "light_on_dark"} <= {
        name for name in NAMES if getattr(config.chances, name)
    }


def test_letters_too_narrow_to_be_told_apart_are_drawn_anew(assets: Assets) -> None:
    """By the pixels that carry something: of two pictures alike, the one taken from afar goes first."""
    chances = Chances().only(("oblique", "low_resolution"))
    drawn = {
        least: pictures(assets, SynthesisConfig(chances=chances, strengths=Strengths(least_advance=least)))
        for least in (0.0, 4.0)
    }
    kept, refused = 0, []
    for every, some in zip(drawn[0.0], drawn[4.0], strict=True):
        if every is None:
            assert some is None
        elif some is None:
            refused.append(every.image.shape[1] / len(every.label))
        else:
            assert (some.image == every.image).all()
            assert some.image.shape[1] / len(some.label) > 3.7
            kept += 1
    assert kept > 3 * len(refused) > 20
    assert min(refused) < 4
    assert max(refused) > 6  # wide enough, had it not been taken from afar


def test_what_is_lettered_differs_from_what_is_not_by_the_contrast_told(assets: Assets) -> None:
    """Measured again on the picture, with the place of the letters taken from a picture without effects."""
    config = SynthesisConfig(chances=Chances().only(("noise", "light", "gamma")))
    for bare, picture in zip(
        pictures(assets, SynthesisConfig(chances=Chances.none())), pictures(assets, config), strict=True
    ):
        if bare is None or picture is None:
            continue
        levels = (int(bare.image.min()), int(bare.image.max()))
        ground, ink = levels if bare.effects & POLARITY else levels[::-1]
        cover = np.abs(bare.image.astype(float) - ground) / abs(ink - ground)
        letters = (picture.image * cover).sum() / cover.sum()
        measured = abs(letters - (picture.image * (1 - cover)).sum() / (1 - cover).sum())
        assert measured == pytest.approx(picture.contrast, abs=8)


def test_letters_too_thin_to_be_seen_are_drawn_anew(assets: Assets) -> None:
    """Ink that covers a sixteenth of a pixel changes it by less than the least contrast."""
    faint = replace(assets, glyphs=np.asarray(assets.glyphs) // 16)
    assert pictures(faint, SynthesisConfig(chances=Chances.none())) == [None] * SOME


def test_faces_come_as_often_as_their_probabilities_say(assets: Assets) -> None:
    config = SynthesisConfig(chances=Chances.none())
    renderer = Renderer(config, assets, "train")
    ids, shares = assets.face_ids("train", ordinary=config.ordinary)
    drawn = [renderer.render("Word", "x", calm(face=(i + 0.5) / 400)) for i in range(400)]
    counts = np.bincount([p.face for p in drawn if p is not None], minlength=len(assets.faces))
    assert counts[ids] == pytest.approx(400 * shares, abs=1)


def test_a_colour_picture_has_the_grey_levels_of_the_grey_one(assets: Assets) -> None:
    config = PRESETS["scene"]()
    for grey, colour in zip(
        pictures(assets, config), pictures(assets, replace(config, colour="rgb")), strict=True
    ):
        assert (grey is None) == (colour is None)
        if grey is None or colour is None:
            continue
        assert colour.image.shape == (*grey.image.shape, 3)
        assert (colour.label, colour.effects) == (grey.label, grey.effects)
        again = cv2.cvtColor(colour.image, cv2.COLOR_BGR2GRAY).astype(int)
        inner = (colour.image > 0).all(axis=2) & (colour.image < 255).all(axis=2)  # nothing was clipped
        assert np.abs(again - grey.image)[inner].max(initial=0) <= 2
    assert any(
        np.ptp(p.image, axis=2).max() > 20 for p in pictures(assets, replace(config, colour="rgb")) if p
    )


def test_taller_pictures_show_taller_text(assets: Assets) -> None:
    config = PRESETS["scene"]()
    for low, high in zip(pictures(assets, config), pictures(assets, replace(config, height=48)), strict=True):
        if low is not None and high is not None:
            assert high.image.shape[0] == 48
            assert high.image.shape[1] == pytest.approx(1.5 * low.image.shape[1], abs=1.5)
            assert high.text_height == pytest.approx(1.5 * low.text_height, rel=0.1)


def test_opencv_is_told_to_give_the_same_bytes_everywhere(assets: Assets) -> None:
    cv2.setNumThreads(4)
    cv2.ipp.setUseIPP(True)
    Renderer(SynthesisConfig(), assets, "train")
    assert (cv2.getNumThreads(), cv2.ipp.useIPP()) == (1, False)


def test_letters_drowned_in_what_lies_behind_them_are_told_from_those_that_stand_out() -> None:
    """By how much the picture resembles the letters: whatever their polarity, contrast and slow light."""
    generator = np.random.Generator(np.random.Philox(3))
    front = np.zeros((32, 96), np.uint8)
    cv2.putText(front, "Exit", (8, 26), cv2.FONT_HERSHEY_SIMPLEX, 0.9, 255, 2, cv2.LINE_AA)
    slope = np.linspace(0, 60, 96, dtype=np.float32)
    noise = cv2.GaussianBlur(generator.standard_normal(front.shape, np.float32), (0, 0), 2.0)
    noise /= noise.std()

    def seen(strength: float, drowning: float) -> float:
        image = 100 + slope + strength * (front / 255) + drowning * noise
        return _resemblance(np.clip(image, 0, 255).astype(np.uint8), front)

    assert min(seen(30, 0), seen(-30, 0), seen(30, 3), seen(-30, 3)) > 0.85
    assert max(seen(30, 45), seen(-30, 45)) < 0.5
    assert seen(0, 0) < 0.3
    assert _resemblance(front, np.zeros_like(front)) == 0


@pytest.mark.parametrize("name", [f.name for f in fields(Strengths)])
def test_strengths_at_their_limits_draw_or_refuse_and_never_fail(assets: Assets, name: str) -> None:
    exclusive = {name for group in _EXCLUSIVE for name in group}
    all_at_once = Chances(**{other: 0.25 if other in exclusive else 1.0 for other in NAMES})
    for limit in map(float, _LIMITS[name]):
        value = (limit, limit) if isinstance(getattr(Strengths(), name), tuple) else limit
        config = SynthesisConfig(chances=all_at_once, strengths=Strengths(**{name: value}))
        for picture in pictures(assets, config):
            assert picture is None or picture.image.shape[0] == 32
