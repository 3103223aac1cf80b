import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.charset import ALNUM36, LATIN94, Charset
from crnn.ctc import log_prob
from crnn.decode import best_path
from crnn.lexicon import Lexicon, LexiconError, decode_with_lexicon, fold_classes
from crnn.metrics import PROTOCOLS, edit_distance

ABC = Charset(characters="abc")
words = st.text(alphabet="abc", min_size=1, max_size=6)


def random_log_probs(
    seed: int, count: int, frames: int, classes: int, sharpness: float = 2.0
) -> torch.Tensor:
    logits = torch.randn((count, frames, classes), generator=torch.Generator().manual_seed(seed))
    return (sharpness * logits).log_softmax(-1)


def scores(log_probs_TV: torch.Tensor, lexicon: Lexicon) -> dict[str, float]:
    """log p(entry | image) of every entry, one by one."""
    found = {}
    for entry in lexicon.entries:
        target = torch.tensor(lexicon.charset.encode(entry))
        found[entry] = float(log_prob(log_probs_TV[None], target, torch.tensor([len(target)])))
    return found


@settings(deadline=None, max_examples=80)
@given(
    st.lists(words, min_size=1, max_size=60),
    st.integers(0, 10_000),
    st.integers(1, 10),
    st.sampled_from([0.3, 2.0, 8.0]),
)
def test_the_entry_found_is_the_argmax_over_all(
    entries: list[str], seed: int, frames: int, sharpness: float
) -> None:
    lexicon = Lexicon(entries, ABC)
    log_probs_NTV = random_log_probs(seed, 2, frames, 4, sharpness)
    for item, found in zip(log_probs_NTV, decode_with_lexicon(log_probs_NTV, lexicon), strict=True):
        truth = scores(item, lexicon)
        best = max(truth.values())
        if math.isinf(best):
            assert found.text == ""
            assert found.confidence == 0.0
            continue
        assert truth[found.text] == pytest.approx(best, abs=1e-4)
        assert found.log_prob == pytest.approx(best, abs=1e-4)
        total = math.log(sum(math.exp(value) for value in truth.values()))
        assert found.confidence == pytest.approx(math.exp(best - total), rel=3.0)
        assert found.confidence >= math.exp(best - total) - 1e-4


def test_two_thousand_random_cases_equal_brute_force_at_every_distance() -> None:
    generator = np.random.default_rng(1)
    charset = Charset(characters="abcdefgh")
    cases = 0
    for round_number in range(20):
        entries = ["".join(generator.choice(list("abcdefgh"), n)) for n in generator.integers(1, 9, 80)]
        lexicon = Lexicon(entries, charset)
        log_probs_NTV = random_log_probs(round_number, 25, 12, 9, float(generator.uniform(0.5, 6)))
        everything = [scores(item, lexicon) for item in log_probs_NTV]
        for distance in range(4):
            found = decode_with_lexicon(log_probs_NTV, lexicon, max_distance=distance)
            paths = best_path(log_probs_NTV, charset)
            for hypothesis, path, truth in zip(found, paths, everything, strict=True):
                near = {w: s for w, s in truth.items() if edit_distance(w, path.text) <= distance} or truth
                assert near[hypothesis.text] == pytest.approx(max(near.values()), abs=1e-4)
                cases += 1
    assert cases == 2000


def test_each_image_may_have_a_lexicon_of_its_own() -> None:
    log_probs_NTV = random_log_probs(0, 3, 8, 4)
    lexicons = [Lexicon(entries, ABC) for entries in (["a", "b"], ["cab"], ["abc", "cba", "bac"])]
    together = decode_with_lexicon(log_probs_NTV, lexicons)
    alone = [decode_with_lexicon(log_probs_NTV[i : i + 1], lexicons[i])[0] for i in range(3)]
    assert [h.text for h in together] == [h.text for h in alone]
    assert [h.log_prob for h in together] == pytest.approx([h.log_prob for h in alone])
    assert decode_with_lexicon(log_probs_NTV[:0], []) == []


def test_large_batches_are_decoded_as_small_ones() -> None:
    log_probs_NTV = random_log_probs(0, 150, 8, 4)
    shared, own = Lexicon(["a", "cab", "bb"], ABC), [Lexicon(["ab", "abc"[i % 3]], ABC) for i in range(150)]
    for lexicons in (shared, own):
        each = [shared] * 150 if lexicons is shared else own
        together = decode_with_lexicon(log_probs_NTV, lexicons)
        alone = [decode_with_lexicon(log_probs_NTV[i : i + 1], each[i])[0] for i in range(150)]
        assert [h.text for h in together] == [h.text for h in alone]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_the_n_best_entries_come_in_order_and_none_is_missed(seed: int, n_best: int) -> None:
    generator = np.random.default_rng(seed)
    lexicon = Lexicon(["".join(generator.choice(list("abc"), n)) for n in generator.integers(1, 7, 90)], ABC)
    log_probs_NTV = random_log_probs(seed, 1, 12, 4, 4.0)
    (found,) = decode_with_lexicon(log_probs_NTV, lexicon, n_best=n_best)
    truth = sorted(scores(log_probs_NTV[0], lexicon).values(), reverse=True)[:n_best]
    listed = [found.log_prob, *(h.log_prob for h in found.alternatives)]
    assert listed == pytest.approx(truth, abs=1e-4)


def test_equally_likely_entries_are_decided_by_their_order() -> None:
    log_probs_NTV = torch.zeros(1, 6, 4).log_softmax(-1)
    assert decode_with_lexicon(log_probs_NTV, Lexicon(["ab", "ba", "ca"], ABC))[0].text == "ab"
    assert decode_with_lexicon(log_probs_NTV, Lexicon(["ca", "ba", "ab"], ABC))[0].text == "ca"


def test_where_no_entry_is_near_enough_all_are_considered() -> None:
    log_probs_NTV = random_log_probs(3, 1, 12, 4, 9.0)
    path = best_path(log_probs_NTV, ABC)[0].text
    assert edit_distance(path, "c") > 1
    assert decode_with_lexicon(log_probs_NTV, Lexicon(["c"], ABC), max_distance=1)[0].text == "c"


def test_unusable_entries_are_dropped_and_counted() -> None:
    lexicon = Lexicon(["Word", "word", " ", "", "café", "WORD ", "two"], ALNUM36)
    assert lexicon.entries == ("word", "two")
    assert lexicon.dropped == {"duplicate": 2, "blank": 2, "outside_charset": 1}
    assert len(lexicon) == 2


@pytest.mark.parametrize("entries", [[], [""], ["é", " "]])
def test_a_lexicon_without_a_usable_entry_is_refused(entries: list[str]) -> None:
    with pytest.raises(LexiconError, match="Not one entry"):
        Lexicon(entries, ALNUM36)


def test_of_one_word_that_word_is_read() -> None:
    (found,) = decode_with_lexicon(random_log_probs(0, 1, 9, 4), Lexicon(["abc"], ABC), n_best=5)
    assert (found.text, found.confidence, found.alternatives) == ("abc", 1.0, ())


def test_a_lexicon_travels_between_processes() -> None:
    lexicon = pickle.loads(pickle.dumps(Lexicon(["ab", "c"], ABC)))
    assert lexicon.neighbours("a", 1).tolist() == [0, 1]


def test_a_recogniser_that_knows_case_reads_a_lexicon_that_does_not() -> None:
    path = [0, *LATIN94.encode("Don't"), 0]
    one_hot = torch.nn.functional.one_hot(torch.tensor([path]), LATIN94.num_classes).float()
    log_probs_NTV = (12 * one_hot).log_softmax(-1)
    folded = fold_classes(log_probs_NTV, LATIN94, ALNUM36, PROTOCOLS["alnum36"].normalize)
    assert torch.allclose(folded.exp().sum(-1), torch.ones(1, len(path)), atol=1e-5)
    assert best_path(folded, ALNUM36)[0].text == "dont"
    assert decode_with_lexicon(folded, Lexicon(["Down", "DONT"], ALNUM36))[0].text == "dont"
