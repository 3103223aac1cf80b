import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.charset import ALNUM36, LATIN94, Charset
from crnn.folding import Folding
from crnn.forward import TextTable, text_log_probs
from crnn.lexicon import Lexicon, decode_with_lexicon
from crnn.metrics import PROTOCOLS
from tests.oracles import collapse

ALNUM = PROTOCOLS["alnum36"].normalize
RAW = Charset(characters="aAbB'")
AB = Charset(characters="ab", fold_case=True)


def folded_probabilities(probs_TV: np.ndarray) -> dict[str, float]:
    """p(text in the smaller charset), by adding up all alignments of all raw texts."""
    found: dict[str, float] = defaultdict(float)
    frames, classes = probs_TV.shape
    for path in itertools.product(range(classes), repeat=frames):
        found[ALNUM(RAW.decode(collapse(path)))] += math.prod(probs_TV[t, c] for t, c in enumerate(path))
    return found


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 4), st.sampled_from([0.5, 3.0]))
def test_probabilities_of_folded_texts_equal_the_sum_over_all_raw_texts(
    seed: int, frames: int, sharpness: float
) -> None:
    logits = torch.randn((1, frames, RAW.num_classes), generator=torch.Generator().manual_seed(seed))
    log_probs_NTV = (sharpness * logits).log_softmax(-1)
    truth = folded_probabilities(log_probs_NTV[0].double().exp().numpy())
    folding = Folding(RAW, AB, ALNUM)
    table, images = TextTable.of([tuple(AB.encode(text)) for text in truth]), np.zeros(len(truth), np.int64)
    split_NKTV = folding.split(log_probs_NTV)
    found = np.exp(text_log_probs(split_NKTV.numpy(), images, table))
    assert found == pytest.approx(list(truth.values()), rel=1e-5)
    assert found.sum() == pytest.approx(1.0, abs=1e-5)
    # The same in logarithms: so unlikely that products would underflow.
    deep = text_log_probs((split_NKTV - 400.0).numpy(), images, table)
    assert deep == pytest.approx(np.log(found) - 400.0 * frames, rel=1e-6)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 4))
def test_the_entry_found_is_the_likeliest_over_all_raw_texts(seed: int, frames: int) -> None:
    logits = torch.randn((1, frames, RAW.num_classes), generator=torch.Generator().manual_seed(seed))
    log_probs_NTV = (3.0 * logits).log_softmax(-1)
    truth = folded_probabilities(log_probs_NTV[0].double().exp().numpy())
    lexicon = Lexicon(["a", "aa", "ab", "bb", "baa", "abba"], AB)
    (found,) = decode_with_lexicon(log_probs_NTV, Folding(RAW, AB, ALNUM), lexicon)
    best = max(lexicon.entries, key=lambda entry: truth.get(entry, 0.0))
    assert found.text == best
    assert math.exp(found.log_prob) == pytest.approx(truth[best], rel=1e-4)


@pytest.mark.parametrize(
    ("path", "entries"),
    [
        ("Lloyd", ["lloyd", "floyd", "loyd"]),
        ("Aaron", ["aron", "aaron"]),
        ("Eel", ["el", "eel"]),
        ("Don't", ["down", "dont"]),
        ("o'o", ["o", "oo"]),
    ],
)
@pytest.mark.parametrize("max_distance", [None, 3])
def test_double_letters_that_differ_in_case_stay_double(
    path: str, entries: list[str], max_distance: int | None
) -> None:
    classes = torch.tensor([LATIN94.encode(path)])  # without a blank in between
    one_hot = torch.nn.functional.one_hot(classes, LATIN94.num_classes).float()
    folding, lexicon = Folding(LATIN94, ALNUM36, ALNUM), Lexicon(entries, ALNUM36)
    (found,) = decode_with_lexicon(
        (12 * one_hot).log_softmax(-1), folding, lexicon, max_distance=max_distance
    )
    assert found.text == ALNUM(path)
    assert found.log_prob == pytest.approx(0.0, abs=0.01)
