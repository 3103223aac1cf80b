import cv2
import numpy as np
import pytest

from pipeline.synthesis.config import Chances, SynthesisConfig
from pipeline.synthesis.effects import effect_names
from pipeline.synthesis.layout import Canvas
from pipeline.synthesis.style import Ink, Stylist
from tests.draws import calm


@pytest.fixture
def letters() -> Canvas:
    """Two bars with soft edges, as antialiased strokes are."""
    canvas = np.zeros((120, 200), np.uint8)
    canvas[40:80, 40:52] = canvas[40:80, 148:160] = 255
    return cv2.blur(canvas, (3, 1))  # type: ignore[no-any-return]


def ink(canvas: Canvas, name: str, *draws: float) -> Ink:
    decision = "weight" if name == "weight" else "outline"
    before = canvas.copy()
    found = Stylist(SynthesisConfig(chances=Chances().only((name,)))).ink(
        canvas, calm(**{decision: (0.0, *draws)})
    )
    assert effect_names(found.effects) == [name]
    assert (canvas == before).all()  # the canvas given isn't changed
    return found


def test_without_an_effect_the_letters_stay_as_they_are(letters: Canvas) -> None:
    found = Stylist(SynthesisConfig()).ink(letters, calm())
    assert (found.front is letters, found.behind, found.effects) == (True, None, 0)


def test_strokes_get_thicker_or_thinner(letters: Canvas) -> None:
    thin, thick = (ink(letters, "weight", draw).front for draw in (0.1, 0.9))
    assert thin.sum(dtype=int) < letters.sum(dtype=int) < thick.sum(dtype=int)
    assert thin.max() == thick.max() == 255


def test_hairlines_that_would_vanish_stay_as_they_are() -> None:
    hairline = np.zeros((120, 200), np.uint8)
    hairline[40:80, 100] = 200
    stylist = Stylist(SynthesisConfig(chances=Chances().only(("weight",))))
    found = stylist.ink(hairline, calm(weight=(0.0, 0.1)))
    assert (found.front is hairline, found.effects) == (True, 0)
    assert effect_names(stylist.ink(hairline, calm(weight=(0.0, 0.9))).effects) == ["weight"]


@pytest.mark.parametrize(
    ("name", "draws"),
    [("border", (0.0,)), ("border", (0.99,)), ("extrusion", (0.1, 0.9, 0.1)), ("extrusion", (0.9, 0.1, 0.9))],
)
def test_borders_and_blocks_lie_behind_all_of_the_letters_and_reach_further(
    letters: Canvas, name: str, draws: tuple[float, ...]
) -> None:
    found = ink(letters, name, *draws)
    assert found.behind is not None
    assert (found.front == letters).all()
    assert (found.behind >= letters).all()
    assert found.behind.sum(dtype=int) > letters.sum(dtype=int)


@pytest.mark.parametrize("soft", [0.1, 0.9])
def test_a_shadow_is_the_letters_moved(letters: Canvas, soft: float) -> None:
    found = ink(letters, "shadow", 0.0, 0.9, soft)  # to the right, far
    assert found.behind is not None
    assert found.behind.sum(dtype=int) == pytest.approx(letters.sum(dtype=int), rel=0.05)
    columns = [np.flatnonzero(layer.any(axis=0)).mean() for layer in (letters, found.behind)]
    assert columns[1] - columns[0] == pytest.approx(2 + 0.9 * 5, abs=1)


@pytest.mark.parametrize("width", [0.1, 0.9])
def test_hollow_letters_are_empty_inside(letters: Canvas, width: float) -> None:
    sharp = np.where(letters > 128, 255, 0).astype(np.uint8)
    front = ink(sharp, "hollow", width).front
    assert not front[sharp > 0].any()
    assert front[60, 39] == front[60, 52] == 255  # beside the stroke
