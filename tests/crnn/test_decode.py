import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.charset import ALNUM36, Charset
from crnn.decode import best_path, prefix_beam_search
from tests.oracles import collapse, text_probabilities

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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([0.3, 1.0, 3.0]))
def test_a_wide_beam_equals_exhaustive_search(seed: int, frames: int, sharpness: float) -> None:
    log_probs_TV = random_log_probs(seed, frames, 3, sharpness=sharpness)
    expected = text_probabilities(log_probs_TV.double().exp())
    found = prefix_beam_search(log_probs_TV, AB, beam_width=10_000, n_best=10_000)
    texts = [found, *found.alternatives]
    assert {h.text: h.log_prob for h in texts} == pytest.approx(
        {AB.decode(text): math.log(p) for text, p in expected.items()}, abs=1e-6
    )
    assert [h.log_prob for h in texts] == sorted((h.log_prob for h in texts), reverse=True)
    assert [h.confidence for h in texts] == pytest.approx([math.exp(h.log_prob) for h in texts], abs=1e-6)


def test_beam_search_finds_the_text_whose_alignments_together_are_likeliest() -> None:
    # Blanks are the likeliest alignment (0.36), but three alignments of "a" add up to 0.64.
    log_probs_TV = torch.tensor([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0]]).add(1e-9).log()
    assert best_path(log_probs_TV[None], AB)[0].text == ""
    found = prefix_beam_search(log_probs_TV, AB)
    assert found.text == "a"
    assert math.exp(found.log_prob) == pytest.approx(0.64)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_a_narrow_beam_never_claims_more_than_the_truth(seed: int, width: int) -> None:
    log_probs_TV = random_log_probs(seed, 6, 3)
    truth = {AB.decode(k): float(p) for k, p in text_probabilities(log_probs_TV.double().exp()).items()}
    found = prefix_beam_search(log_probs_TV, AB, beam_width=width, n_best=width)
    for hypothesis in (found, *found.alternatives):
        assert math.exp(hypothesis.log_prob) <= truth[hypothesis.text] + 1e-9


@pytest.mark.parametrize("width", [0, -1])
def test_a_beam_of_no_prefix_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="1 prefix at least"):
        prefix_beam_search(random_log_probs(0, 3, 3), AB, beam_width=width)


class Bigrams:
    """p(next | last character), from a table."""

    def __init__(self, table: np.ndarray) -> None:
        self.table = np.log(table / table.sum(axis=1, keepdims=True))

    def next_scores(self, prefix: tuple[int, ...]) -> np.ndarray:
        return self.table[prefix[-1] if prefix else 0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0, 2), st.floats(-1, 1))
def test_fusion_ranks_by_the_weighted_sum(seed: int, frames: int, weight: float, bonus: float) -> None:
    log_probs_TV = random_log_probs(seed, frames, 3)
    model = Bigrams(np.random.default_rng(seed).random((3, 3)) + 0.05)
    ranks = {}
    for text, p in text_probabilities(log_probs_TV.double().exp()).items():
        steps = [model.table[a, b] for a, b in zip((0, *text), (*text, 0), strict=True)]
        ranks[AB.decode(text)] = math.log(p) + weight * sum(steps) + bonus * len(text)
    found = prefix_beam_search(
        log_probs_TV, AB, beam_width=10_000, language_model=model, weight=weight, length_bonus=bonus
    )
    assert ranks[found.text] == pytest.approx(max(ranks.values()), abs=1e-9)
