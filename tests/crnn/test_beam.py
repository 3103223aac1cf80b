"""Beam search against every text that the frames can write, and against a plain one of dictionaries."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from crnn.beam import Prior, prefix_beam_search
from crnn.charset import BLANK, Charset
from crnn.decode import Hypothesis, best_path
from crnn.scores import ScoreTable
from tests.oracles import text_probabilities

AB, ABCD = Charset(characters="ab"), Charset(characters="abcd")


def random_log_probs(seed: int, *shape: int, sharpness: float = 2.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (sharpness * torch.randn(shape, generator=generator)).log_softmax(-1)


def search(item: Tensor, charset: Charset = AB, **settings: object) -> Hypothesis:
    (found,) = prefix_beam_search([item], charset, **settings)  # type: ignore[arg-type]
    return found


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([0.3, 1.0, 3.0]))
def test_a_wide_beam_equals_exhaustive_search(seed: int, frames: int, sharpness: float) -> None:
    log_probs_TV = random_log_probs(seed, frames, 3, sharpness=sharpness)
    expected = text_probabilities(log_probs_TV.double().exp())
    found = search(log_probs_TV, beam_width=10_000, n_best=10_000)
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
    found = search(log_probs_TV)
    assert found.text == "a"
    assert math.exp(found.log_prob) == pytest.approx(0.64)


@settings(deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4))
def test_a_narrow_beam_never_claims_more_than_the_truth(seed: int, width: int) -> None:
    log_probs_TV = random_log_probs(seed, 6, 3)
    truth = {AB.decode(k): float(p) for k, p in text_probabilities(log_probs_TV.double().exp()).items()}
    found = search(log_probs_TV, beam_width=width, n_best=width)
    for hypothesis in (found, *found.alternatives):
        assert math.exp(hypothesis.log_prob) <= truth[hypothesis.text] + 1e-9


@pytest.mark.parametrize("width", [0, -1])
def test_a_beam_of_no_prefix_is_refused(width: int) -> None:
    with pytest.raises(ValueError, match="1 prefix at least"):
        search(random_log_probs(0, 3, 3), beam_width=width)


class Bigrams:
    """p(next | last character), from a table."""

    order = 2

    def __init__(self, seed: int, classes: int) -> None:
        table = np.random.default_rng(seed).random((classes, classes)) + 0.05
        self.table = np.log(table / table.sum(axis=1, keepdims=True))

    def next_scores(self, prefixes: Sequence[tuple[int, ...]]) -> np.ndarray:
        return self.table[[prefix[-1] if prefix else 0 for prefix in prefixes]]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5), st.floats(0, 2), st.floats(-1, 1))
def test_fusion_ranks_by_the_weighted_sum(seed: int, frames: int, weight: float, bonus: float) -> None:
    log_probs_TV = random_log_probs(seed, frames, 3)
    model = Bigrams(seed, 3)
    ranks = {}
    for text, p in text_probabilities(log_probs_TV.double().exp()).items():
        steps = [model.table[a, b] for a, b in zip((0, *text), (*text, 0), strict=True)]
        ranks[AB.decode(text)] = math.log(p) + weight * sum(steps) + bonus * len(text)
    prior = Prior(scores=ScoreTable(model, 3), weight=weight, length_bonus=bonus)
    found = search(log_probs_TV, beam_width=10_000, prior=prior)
    assert ranks[found.text] == pytest.approx(max(ranks.values()), abs=1e-9)


def plain_beam(
    item: Tensor, width: int, model: Bigrams, weight: float, bonus: float
) -> list[tuple[tuple[int, ...], float, float]]:
    """Prefix, log p and rank of each that a beam of dictionaries holds at the end, best first."""

    def heard(prefix: tuple[int, ...]) -> float:
        steps = zip((0, *prefix), prefix, strict=False)
        return sum(weight * float(model.table[a, b]) + bonus for a, b in steps)

    def rank(prefix: tuple[int, ...]) -> float:
        return float(np.logaddexp(*beam[prefix])) + heard(prefix)

    beam = {(): (0.0, -math.inf)}
    for frame in item.double().tolist():
        grown: dict[tuple[int, ...], tuple[float, float]] = {}

        def add(prefix: tuple[int, ...], blank: float, character: float, into=grown) -> None:  # type: ignore[no-untyped-def]
            before = into.get(prefix, (-math.inf, -math.inf))
            into[prefix] = float(np.logaddexp(before[0], blank)), float(np.logaddexp(before[1], character))

        for prefix, (blank, character) in beam.items():
            both = float(np.logaddexp(blank, character))
            add(prefix, both + frame[BLANK], -math.inf)
            for code in range(1, len(frame)):
                same = bool(prefix) and prefix[-1] == code
                if same:
                    add(prefix, -math.inf, character + frame[code])
                add((*prefix, code), -math.inf, (blank if same else both) + frame[code])
        beam = {prefix: each for prefix, each in grown.items() if max(each) > -math.inf}
        beam = {prefix: beam[prefix] for prefix in sorted(beam, key=rank)[-width:]}
    ends = {p: rank(p) + weight * float(model.table[p[-1] if p else 0, BLANK]) for p in beam}
    return [(p, float(np.logaddexp(*beam[p])), ends[p]) for p in sorted(beam, key=lambda p: -ends[p])]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10_000),
    st.lists(st.integers(0, 9), min_size=1, max_size=6),
    st.integers(1, 7),
    st.sampled_from([0.5, 2.0, 5.0]),
)
def test_a_narrow_beam_is_the_one_of_dictionaries_whatever_is_searched_with_it(
    seed: int, lengths: list[int], width: int, sharpness: float
) -> None:
    model, classes = Bigrams(seed, 5), ABCD.num_classes
    items = [
        random_log_probs(seed + i, frames, classes, sharpness=sharpness) for i, frames in enumerate(lengths)
    ]
    prior = Prior(scores=ScoreTable(model, classes), weight=0.7, length_bonus=0.4)
    found = prefix_beam_search(items, ABCD, beam_width=width, n_best=width, prior=prior)
    for item, best in zip(items, found, strict=True):
        assert search(item, ABCD, beam_width=width, n_best=width, prior=prior) == best
        expected = plain_beam(item, width, model, 0.7, 0.4)
        texts = [best, *best.alternatives]
        assert [h.text for h in texts] == [ABCD.decode(prefix) for prefix, _, _ in expected]
        assert [h.log_prob for h in texts] == pytest.approx([p for _, p, _ in expected])
        everything = math.log(sum(math.exp(rank) for _, _, rank in expected))
        assert [h.confidence for h in texts] == pytest.approx(
            [math.exp(rank - everything) for _, _, rank in expected]
        )


def test_equally_likely_texts_come_by_their_spelling_and_a_full_beam_keeps_the_first() -> None:
    even = torch.full((1, ABCD.num_classes), 1 / ABCD.num_classes).log()
    found = search(even, ABCD, n_best=4)
    assert [h.text for h in (found, *found.alternatives)] == ["", "a", "b", "c"]
    found = search(even, ABCD, beam_width=3, n_best=9)
    assert [h.text for h in (found, *found.alternatives)] == ["", "a", "b"]


def test_of_equals_at_the_end_of_the_list_those_that_are_spelt_first_are_told() -> None:
    found = search(torch.full((3, 3), 1 / 3).log(), beam_width=100, n_best=7)
    assert [h.text for h in (found, *found.alternatives)] == ["a", "b", "ab", "ba", "", "aa", "aba"]


def test_what_is_no_number_is_impossible_and_takes_nothing_else_with_it() -> None:
    sound = random_log_probs(2, 5, 3)
    holed, dead = sound.clone(), sound.clone()
    holed[2, 1], dead[2] = math.nan, -math.inf
    impossible = sound.clone()
    impossible[2, 1] = -math.inf
    for width in (1, 2, 3, 50):
        found = prefix_beam_search([dead, holed, sound], AB, beam_width=width)
        assert found[0] == Hypothesis("", -math.inf, 0.0)
        assert found[1:] == [search(impossible, beam_width=width), search(sound, beam_width=width)]
        assert search(dead, beam_width=width) == found[0]


def test_items_and_priors_of_other_classes_are_refused() -> None:
    table = ScoreTable(Bigrams(0, 4), 4)
    for items in ([torch.zeros(2, 4)], torch.zeros(2, 3)):
        with pytest.raises(ValueError, match=r"Items are \[T, 3\] each; one is \["):
            prefix_beam_search(items, AB)
    with pytest.raises(ValueError, match="scores 4 classes, the charset has 3"):
        prefix_beam_search([], AB, prior=Prior(scores=table))


def test_nothing_to_search_is_nothing_and_no_frames_are_no_text() -> None:
    assert prefix_beam_search([], AB) == []
    (found,) = prefix_beam_search(torch.zeros(1, 0, 3), AB)
    assert (found.text, found.log_prob, found.confidence) == ("", 0.0, 1.0)


def test_more_items_than_are_weighed_at_once_are_each_found(monkeypatch: pytest.MonkeyPatch) -> None:
    items = random_log_probs(1, 9, 6, 3)
    alone = [search(item, beam_width=4) for item in items]
    for room in (1, 30, 60):
        monkeypatch.setattr("crnn.beam._ROOM", room)
        assert prefix_beam_search(items, AB, beam_width=4) == alone
