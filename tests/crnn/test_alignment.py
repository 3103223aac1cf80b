"""Where characters stand, against all alignments there are."""

import math
from itertools import pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.alignment import character_spans, pixel_boxes
from crnn.charset import Charset
from crnn.decode import Span, best_path
from tests.oracles import alignments, collapse

AB = Charset(characters="ab")


def random_log_probs(seed: int, *shape: int) -> torch.Tensor:
    return (2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))).log_softmax(-1)


def spans_of(path: tuple[int, ...]) -> tuple[Span, ...]:
    """Frames of each character of an alignment, by walking along it."""
    spans: list[Span] = []
    for t, c in enumerate(path):
        if c and t and path[t - 1] == c:
            spans[-1] = (spans[-1][0], t + 1)
        elif c:
            spans.append((t, t + 1))
    return tuple(spans)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(1, 6), st.lists(st.integers(1, 2), max_size=4))
def test_the_spans_are_those_of_the_likeliest_alignment(seed: int, frames: int, text: list[int]) -> None:
    log_probs_TV = random_log_probs(seed, frames, 3)
    ways = [path for path in alignments(frames, 3) if collapse(path) == tuple(text)]
    found = character_spans(log_probs_TV, text)
    if not ways:
        assert found == ()
        return
    best = max(ways, key=lambda path: sum(float(log_probs_TV[t, c]) for t, c in enumerate(path)))
    assert found == spans_of(best)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30))
def test_the_best_paths_text_has_the_best_paths_spans(seed: int, frames: int) -> None:
    log_probs_TV = random_log_probs(seed, frames, 3)
    (hypothesis,) = best_path(log_probs_TV[None], AB, spans=True)
    assert character_spans(log_probs_TV, AB.encode(hypothesis.text)) == hypothesis.spans


def test_what_is_impossible_has_no_spans() -> None:
    log_probs_TV = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]).log()
    assert character_spans(log_probs_TV, [2]) == ()
    assert character_spans(log_probs_TV, [1, 1]) == ()
    assert character_spans(torch.zeros(0, 3), [1]) == ()
    assert math.isinf(float(log_probs_TV[0, 2]))


def test_boxes_share_edges_and_stay_inside_the_image() -> None:
    boxes = pixel_boxes(((2, 3), (5, 7), (11, 12)), frames=12, canonical_width=48, scaled_width=44, width=88)
    assert all(a[1] == b[0] for a, b in pairwise(boxes))
    assert boxes[0][0] >= 0
    assert boxes[-1][1] == 88
    assert pixel_boxes((), frames=12, canonical_width=48, scaled_width=44, width=88) == []
    assert pixel_boxes(((5, 6),), frames=12, canonical_width=48, scaled_width=48, width=96) == [(0.0, 92.0)]
