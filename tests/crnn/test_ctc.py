import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.ctc import ctc_loss, log_prob, min_frames
from tests.oracles import text_probabilities

CLASSES = 3


def random_logits(seed: int, *shape: int) -> torch.Tensor:
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def flat(*targets: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([c for t in targets for c in t]), torch.tensor([len(t) for t in targets])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_loss_equals_the_sum_over_all_alignments_for_every_text(seed: int, frames: int) -> None:
    logits_NTV = random_logits(seed, 1, frames, CLASSES)
    for text, probability in text_probabilities(logits_NTV[0].softmax(-1)).items():
        loss = ctc_loss(logits_NTV, *flat(text))
        assert float(loss) == pytest.approx(-math.log(probability), abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10_000),
    st.integers(1, 5),
    st.lists(st.lists(st.integers(1, 2), max_size=3), min_size=1, max_size=3),
)
def test_gradients_equal_those_through_the_enumeration(
    seed: int, frames: int, targets: list[list[int]]
) -> None:
    possible = [tuple(t) for t in targets if min_frames(t) <= frames]
    logits_NTV = random_logits(seed, len(possible), frames, CLASSES).requires_grad_()
    if not possible:
        return
    ctc_loss(logits_NTV, *flat(*possible)).sum().backward()
    found, logits_NTV.grad = logits_NTV.grad, None
    losses = [
        -text_probabilities(item.softmax(-1))[t].log() for item, t in zip(logits_NTV, possible, strict=True)
    ]
    torch.stack(losses).sum().backward()
    assert torch.allclose(found, logits_NTV.grad, atol=1e-5)


@settings(deadline=None)
@given(st.lists(st.integers(1, 2), max_size=5), st.integers(1, 6))
def test_min_frames_is_exactly_where_texts_become_possible(target: list[int], frames: int) -> None:
    log_probs_NTV = torch.zeros(1, frames, CLASSES).log_softmax(-1)
    possible = bool(torch.isfinite(log_prob(log_probs_NTV, *flat(tuple(target)))))
    assert possible == (min_frames(target) <= frames)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_probabilities_of_all_texts_of_a_tiny_case_add_up_to_1(seed: int, frames: int) -> None:
    log_probs_NTV = random_logits(seed, 1, frames, CLASSES).log_softmax(-1)
    texts = list(text_probabilities(log_probs_NTV[0].exp()))
    batch = log_probs_NTV.expand(len(texts), -1, -1)
    assert float(log_prob(batch, *flat(*texts)).exp().sum()) == pytest.approx(1.0, abs=1e-5)


def test_loss_is_computed_in_fp32_from_half_precision_logits() -> None:
    logits_NTV = random_logits(0, 2, 5, CLASSES).to(torch.bfloat16)
    loss = ctc_loss(logits_NTV, *flat((1, 2), (2,)))
    assert loss.dtype == torch.float32
    assert torch.allclose(loss, ctc_loss(logits_NTV.float(), *flat((1, 2), (2,))))


def test_each_item_of_a_batch_has_the_loss_it_has_alone() -> None:
    logits_NTV = random_logits(1, 3, 6, CLASSES)
    targets = [(1, 2, 1), (), (2, 2)]
    together = ctc_loss(logits_NTV, *flat(*targets))
    alone = [ctc_loss(logits_NTV[i : i + 1], *flat(t)) for i, t in enumerate(targets)]
    assert torch.allclose(together, torch.cat(alone))
