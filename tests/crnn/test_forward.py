import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crnn.ctc import log_prob
from crnn.forward import TextTable, text_log_probs
from tests.oracles import text_probabilities

texts = st.lists(st.integers(1, 3), max_size=5).map(tuple)


def random_log_probs(seed: int, count: int, frames: int, classes: int, sharpness: float) -> torch.Tensor:
    logits = torch.randn((count, frames, classes), generator=torch.Generator().manual_seed(seed))
    return (sharpness * logits).log_softmax(-1)


@settings(deadline=None, max_examples=300)
@example(245, [(0, (1,))], 5, 300.0)
@given(
    st.integers(0, 10_000),
    st.lists(st.tuples(st.integers(0, 2), texts), min_size=1, max_size=9),
    st.integers(1, 12),
    st.sampled_from([0.5, 3.0, 300.0]),
)
def test_it_equals_the_reference_whatever_is_asked_together(
    seed: int, asked: list[tuple[int, tuple[int, ...]]], frames: int, sharpness: float
) -> None:
    log_probs_NTV = random_log_probs(seed, 3, frames, 4, sharpness)
    images = np.array([image for image, _ in asked])
    found = text_log_probs(log_probs_NTV[:, None].numpy(), images, TextTable.of([text for _, text in asked]))
    for (image, text), value in zip(asked, found, strict=True):
        alone = log_prob(log_probs_NTV[image : image + 1], torch.tensor(text), torch.tensor([len(text)]))
        assert value == pytest.approx(float(alone), rel=1e-4, abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 5))
def test_probabilities_of_all_texts_of_a_tiny_case_add_up_to_1(seed: int, frames: int) -> None:
    log_probs_NTV = random_log_probs(seed, 1, frames, 3, 1.0)
    table = TextTable.of(list(text_probabilities(log_probs_NTV[0].double().exp())))
    found = text_log_probs(log_probs_NTV[:, None].numpy(), np.zeros(len(table.lengths_E), np.int64), table)
    assert np.exp(found).sum() == pytest.approx(1.0, abs=1e-6)


def test_products_that_underflow_are_done_in_logarithms() -> None:
    log_probs_NTV = torch.full((1, 3, 3), -800.0)
    log_probs_NTV[..., 0] = 0.0
    found = text_log_probs(log_probs_NTV[:, None].numpy(), np.zeros(1, np.int64), TextTable.of([(1, 2)]))
    assert found[0] == pytest.approx(-1600 + np.log(3), rel=1e-6)


def test_texts_far_below_what_matters_need_not_be_exact_but_are_never_too_high() -> None:
    log_probs_NTV = random_log_probs(245, 1, 5, 4, 300.0)
    asked = [tuple(text) for text in ((1,), (2,), (3,), (1, 2), (2, 1, 3))] * 100
    images = np.zeros(len(asked), np.int64)
    exact = text_log_probs(log_probs_NTV[:, None].numpy(), images, TextTable.of(asked))
    rough = text_log_probs(log_probs_NTV[:, None].numpy(), images, TextTable.of(asked), refine=False)
    assert (rough <= exact + 0.1).all()
    assert (rough < exact - 10).any()


def test_a_text_that_needs_more_frames_than_there_are_is_impossible() -> None:
    log_probs_NTV = torch.zeros(1, 3, 3).log_softmax(-1)
    found = text_log_probs(
        log_probs_NTV[:, None].numpy(), np.zeros(2, np.int64), TextTable.of([(1, 1), (2, 2, 1)])
    )
    assert np.isfinite(found[0])
    assert np.isneginf(found[1])


def test_thousands_of_long_texts_are_cut_into_passes_without_a_difference() -> None:
    log_probs_NTV = random_log_probs(0, 2, 60, 5, 1.0)
    generator = np.random.default_rng(0)
    asked = [tuple(generator.integers(1, 5, generator.integers(0, 25)).tolist()) for _ in range(9000)]
    images = generator.integers(0, 2, len(asked))
    together = text_log_probs(log_probs_NTV[:, None].numpy(), images, TextTable.of(asked))
    some = generator.integers(0, len(asked), 50)
    alone = [
        text_log_probs(log_probs_NTV[:, None].numpy(), images[[i]], TextTable.of([asked[i]]))[0] for i in some
    ]
    assert together[some] == pytest.approx(alone, rel=1e-9)
