import copy
from dataclasses import replace

import numpy as np
import pytest

from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import SynthesisConfig
from pipeline.synthesis.effects import effect_names
from pipeline.synthesis.layout import Page, Typesetter
from pipeline.synthesis.presets import document
from pipeline.synthesis.words import WordsConfig
from tests.draws import calm

SANS, MONO = "DejaVu Sans Book", "DejaVu Sans Mono Book"


@pytest.fixture
def assets(tiny_assets: str) -> Assets:
    return Assets.open(tiny_assets)


def face(assets: Assets, name: str) -> int:
    return next(i for i, face in enumerate(assets.faces) if face.name == name)


def page(assets: Assets, text: str, u: list[float], name: str = SANS) -> Page:
    found = Typesetter(SynthesisConfig(), assets).page(text, "Qy", face(assets, name), u)
    assert found is not None
    return found


def test_the_box_holds_all_ink_and_no_empty_edge(assets: Assets) -> None:
    for text in ("word", "Ag", "WAVE", "j", "?!"):
        found = page(assets, text, calm())
        left, top, right, bottom = found.box
        rows, columns = np.nonzero(found.canvas)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == (left, top, right, bottom)
        assert found.label == text
        assert not found.effects


@pytest.mark.parametrize("text", [".", "...", "-", "_"])
def test_dots_and_dashes_alone_are_not_set_for_they_could_be_anything(assets: Assets, text: str) -> None:
    assert Typesetter(SynthesisConfig(), assets).page(text, "x", face(assets, SANS), calm()) is None


def test_each_letter_takes_the_ink_that_its_glyph_has(assets: Assets) -> None:
    """In a face whose letters never touch, a word's ink is the sum of its letters'."""
    whole = page(assets, "milk", calm(), MONO).canvas.astype(np.int64).sum()
    assert whole == sum(page(assets, c, calm(), MONO).canvas.astype(np.int64).sum() for c in "milk")


def test_pairs_that_kern_stand_closer_than_their_advances_say(assets: Assets) -> None:
    width = {}
    for text in ("AV", "HH"):
        left, _, right, _ = page(assets, text, calm()).box
        width[text] = right - left
    flat = replace(assets, kerning=np.zeros_like(assets.kerning))
    for text, closer in (("AV", True), ("HH", False)):
        left, _, right, _ = page(flat, text, calm()).box
        assert (right - left > width[text]) is closer


def test_spacing_widens_words_and_leaves_single_letters(assets: Assets) -> None:
    for text, wider in (("word", True), ("w", False)):
        wide = page(assets, text, calm(spacing=(0.0, 0.94)))
        assert effect_names(wide.effects) == ["spacing"]
        assert (wide.box[2] > page(assets, text, calm()).box[2]) is wider


def test_letters_stand_as_far_apart_as_two_capitals_are_high_in_one_spaced_word_of_twenty(
    assets: Assets,
) -> None:
    gaps = []
    for draw in np.linspace(0, 0.999, 100):
        columns = page(assets, "HH", calm(spacing=(0.0, draw))).canvas.any(axis=0)
        gaps.append(int(max(0, *(np.diff(np.flatnonzero(columns)) - 1))))
    _, top, _, bottom = page(assets, "H", calm()).box
    assert gaps == sorted(gaps)
    assert gaps[-1] > 1.8 * (bottom - top) > 3 * gaps[94]


@pytest.mark.parametrize("draw", [0.0, 0.5, 0.94, 0.999])
def test_a_spaced_word_tells_the_share_of_its_width_that_letters_take(assets: Assets, draw: float) -> None:
    usual, spaced = page(assets, "words", calm()), page(assets, "words", calm(spacing=(0.0, draw)))
    width = {name: found.box[2] - found.box[0] for name, found in (("usual", usual), ("spaced", spaced))}
    assert usual.letters == 1.0
    assert spaced.letters == pytest.approx(min(1.0, width["usual"] / width["spaced"]), abs=0.04)


def test_letters_of_documents_are_never_far_apart(assets: Assets) -> None:
    found = Typesetter(document(), assets).page("HH", "Qy", face(assets, SANS), calm(spacing=(0.0, 0.999)))
    usual = page(assets, "HH", calm(spacing=(0.0, 0.94)))
    assert found is not None
    assert found.box[2] - usual.box[2] <= 2


def test_small_capitals_are_labelled_as_the_capitals_they_are(assets: Assets) -> None:
    found = page(assets, "Exit3", calm(small_caps=0.0))
    assert found.label == "EXIT3"
    assert effect_names(found.effects) == ["small_caps"]
    height = found.box[3] - found.box[1]
    assert height == pytest.approx(assets.cap_height, abs=2)  # of the E; no small letter reaches below


@pytest.mark.parametrize("text", ["EXIT", "42", "(%)"])
def test_what_has_no_small_letters_is_never_set_in_small_capitals(assets: Assets, text: str) -> None:
    found = page(assets, text, calm(small_caps=0.0))
    assert (found.label, found.effects) == (text, 0)


def test_a_letter_without_a_capital_of_its_own_keeps_its_word_out_of_small_capitals(assets: Assets) -> None:
    """As if the glyph of ~ were an ß, whose capital is SS."""
    german = replace(assets, characters=assets.characters.replace("~", "ß"))
    assert page(german, "straße", calm(small_caps=0.0)).label == "straße"


def test_no_label_leaves_the_characters_that_are_asked_for(assets: Assets) -> None:
    config = SynthesisConfig(words=WordsConfig(characters="abcdefghijklmnopqrstuvwxyz"))
    found = Typesetter(config, assets).page("word", "x", face(assets, SANS), calm(small_caps=0.0))
    assert found is not None
    assert found.label == "word"
    faces = tuple(replace(f, case="upper") for f in assets.faces)
    assert Typesetter(config, replace(assets, faces=faces)).page("word", "x", 0, calm()) is None


def test_a_face_of_capitals_alone_has_its_text_labelled_in_capitals(assets: Assets) -> None:
    faces = tuple(replace(f, case="upper" if f.name == SANS else "lower") for f in assets.faces)
    capitals = replace(assets, faces=faces)
    assert page(capitals, "Exit", calm()).label == "EXIT"
    assert page(capitals, "Exit", calm(), MONO).label == "exit"


def test_a_face_without_one_of_the_characters_writes_nothing(assets: Assets) -> None:
    index = copy.deepcopy(np.asarray(assets.index))
    index[face(assets, SANS), assets.characters.index("d"), 6] = 0
    typesetter = Typesetter(SynthesisConfig(), replace(assets, index=index))
    assert typesetter.page("word", "x", face(assets, SANS), calm()) is None
    assert typesetter.page("work", "x", face(assets, SANS), calm()) is not None
    assert typesetter.page("word", "x", face(assets, MONO), calm()) is not None


def test_dancing_letters_keep_their_columns(assets: Assets) -> None:
    still, dancing = page(assets, "word", calm()), page(assets, "word", calm(jitter=(0.0, 0.3)))
    assert effect_names(dancing.effects) == ["jitter"]
    assert (dancing.box[0], dancing.box[2]) == (still.box[0], still.box[2])
    assert dancing.canvas.shape != still.canvas.shape or (dancing.canvas != still.canvas).any()


def test_every_letter_of_a_short_word_dances(assets: Assets) -> None:
    tops: list[set[int]] = [set() for _ in "mono"]
    for draw in np.arange(0, 2**24, 200_003) / 2**24:  # as many bits as a draw has
        canvas = page(assets, "mono", calm(jitter=(0.0, float(draw))), MONO).canvas
        columns = np.flatnonzero(canvas.any(axis=0))
        for letter, some in enumerate(np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)):
            inked = np.flatnonzero(canvas[:, some].any(axis=1))
            tops[letter].add(int(inked[0]))
    assert [len(found) for found in tops] == [4] * 4


@pytest.mark.parametrize(("draw", "side"), [(0.1, 2), (0.4, 3), (0.7, 1), (0.9, 0)])
def test_neighbours_stand_beside_the_text_and_ask_for_the_margin_that_shows_them(
    assets: Assets, draw: float, side: int
) -> None:
    alone, found = page(assets, "word", calm()), page(assets, "word", calm(neighbour=(0.0, draw, 0.5, 0.5)))
    assert effect_names(found.effects) == ["neighbour"]
    assert found.label == "word"
    assert found.box == alone.box
    assert [i for i in range(4) if found.extra[i]] == [side]
    left, top, right, bottom = found.box
    inside, before = found.canvas[top:bottom, left:right], alone.canvas[top:bottom, left:right]
    assert (inside == before).all()
    reach = int(found.extra[side])
    shown = {
        0: found.canvas[:, left - reach : left],
        1: found.canvas[:, right : right + reach],
        2: found.canvas[top - reach : top],
        3: found.canvas[bottom : bottom + reach],
    }[side]
    assert shown.any()


@pytest.mark.parametrize("beside", ["ll", "||", "WW"])
@pytest.mark.parametrize("draw", [0.7, 0.9])
def test_less_than_half_of_a_neighbouring_letter_is_in_the_margin(
    assets: Assets, beside: str, draw: float
) -> None:
    typesetter = Typesetter(SynthesisConfig(), assets)
    found = typesetter.page("word", beside, face(assets, SANS), calm(neighbour=(0.0, draw, 0.5, 0.999)))
    assert found is not None
    left, _, right, _ = found.box
    if draw < 0.8:
        letter, shown = found.canvas[:, right:], found.canvas[:, right : right + int(found.extra[1])]
    else:
        letter, shown = found.canvas[:, :left], found.canvas[:, left - int(found.extra[0]) : left]
    assert 0 < np.count_nonzero(shown.any(axis=0)) < 0.5 * np.count_nonzero(letter.any(axis=0))


@pytest.mark.parametrize("side", [0.7, 0.9])
def test_no_letter_of_the_next_word_stands_among_letters_that_are_far_apart(
    assets: Assets, side: float
) -> None:
    apart = page(assets, "word", calm(spacing=(0.0, 0.99), neighbour=(0.0, side, 0.0, 0.5)))
    assert effect_names(apart.effects) == ["spacing"]
    assert apart.extra == (0.0, 0.0, 0.0, 0.0)


def test_the_next_word_is_further_away_than_the_letters_of_a_spaced_word(assets: Assets) -> None:
    spaced = page(assets, "word", calm(spacing=(0.0, 0.94), neighbour=(0.0, 0.7, 0.0, 0.5)))
    columns = spaced.canvas.any(axis=0)
    gaps = np.diff(np.flatnonzero(columns)) - 1
    gaps = gaps[gaps > 0]
    assert gaps[-1] > 1.3 * gaps[:-1].max()


def test_an_underline_is_as_wide_as_the_text_and_within_the_margin_that_it_asks_for(assets: Assets) -> None:
    bare, found = page(assets, "word", calm()), page(assets, "word", calm(underline=(0.0, 0.9, 0.9)))
    assert effect_names(found.effects) == ["underline"]
    left, _, right, bottom = found.box
    assert found.box == bare.box
    assert (found.canvas[:bottom] == bare.canvas[:bottom]).all()
    rows, columns = np.nonzero(found.canvas[bottom:])
    assert rows.min() >= 2
    assert rows.max() < found.below
    assert (columns.min(), columns.max() + 1) == (left, right)
