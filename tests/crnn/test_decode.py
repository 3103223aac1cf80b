import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.charset import ALNUM36, Charset
from crnn.decode import best_path
from tests.oracles import collapse

AB = Charset(characters="ab")


def random_log_probs(seed: int, *shape: int, sharpness: float = 2.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(shape, generator=generator)).log_softmax(-1)


def one_hot(path: list[int], classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor([path]), classes).float().mul(20).log_softmax(-1)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 6))
def test_best_path_writes_the_likeliest_alignment(seed: int, frames: int, count: int) -> None:
    log_probs_NTV = random_log_probs(seed, count, frames, 37, sharpness=0.5)
    for item, hypothesis in zip(log_probs_NTV, best_path(log_probs_NTV, ALNUM36), strict=True):
        path = item.argmax(-1).tolist()
        assert hypothesis.text == ALNUM36.decode(collapse(path))
        expected = sum(float(item[t, c]) for t, c in enumerate(path))
        assert hypothesis.log_prob == pytest.approx(expected, abs=1e-5)
        assert hypothesis.confidence == pytest.approx(math.exp(expected), abs=1e-6)


def test_best_path_of_the_papers_example() -> None:
    path = [0 if c == "-" else "helo".index(c) + 1 for c in "--hh-e-l-ll-oo--"]
    (hypothesis,) = best_path(one_hot(path, 5), Charset(characters="helo"), spans=True)
    assert hypothesis.text == "hello"
    assert hypothesis.spans == ((2, 4), (5, 6), (7, 8), (9, 11), (12, 14))


def test_best_path_of_nothing_is_nothing() -> None:
    assert best_path(torch.zeros(0, 5, 3), AB) == []
    assert [h.text for h in best_path(torch.zeros(2, 0, 3), AB)] == ["", ""]
    assert best_path(one_hot([0, 0], 3), AB, spans=True)[0].spans == ()


@settings(deadline=None)
@given(st.integers(0, 10_000))
def test_spans_hold_exactly_the_frames_of_their_characters(seed: int) -> None:
    log_probs_NTV = random_log_probs(seed, 3, 12, 3)
    for item, hypothesis in zip(log_probs_NTV, best_path(log_probs_NTV, AB, spans=True), strict=True):
        path = item.argmax(-1).tolist()
        covered = [None] * len(path)
        for character, (first, end) in zip(hypothesis.text, hypothesis.spans, strict=True):
            covered[first:end] = [character] * (end - first)
        assert covered == [AB.decode([c]) if c else None for c in path]
