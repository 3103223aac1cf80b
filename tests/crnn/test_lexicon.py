import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.charset import ALNUM36, ALNUM36_DROP, Charset
from crnn.ctc import log_prob
from crnn.decode import best_path
from crnn.lexicon import Lexicon, LexiconError, decode_with_lexicon
from crnn.metrics import edit_distance

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
    for item, found in zip(log_probs_NTV, decode_with_lexicon(log_probs_NTV, ABC, lexicon), strict=True):
        truth = scores(item, lexicon)
        best = max(truth.values())
        if math.isinf(best):
            assert found.text == ""
            assert found.confidence == 0.0
            continue
        assert truth[found.text] == pytest.approx(best, abs=1e-4)
        assert found.log_prob == pytest.approx(best, abs=1e-4)
        # The share among all entries at least, and among those a tenth as likely as the best at most.
        shares = [math.exp(value - best) for value in truth.values()]
        serious = [share for share in shares if share > 0.101]
        assert 1 / sum(shares) - 1e-4 <= found.confidence <= 1 / sum(serious) + 1e-4


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
            found = decode_with_lexicon(log_probs_NTV, charset, lexicon, max_distance=distance)
            paths = best_path(log_probs_NTV, charset)
            for hypothesis, path, truth in zip(found, paths, everything, strict=True):
                edits = {word: edit_distance(word, path.text) for word in truth}
                most = max(distance, min(edits.values()))
                near = {word: score for word, score in truth.items() if edits[word] <= most}
                assert near[hypothesis.text] == pytest.approx(max(near.values()), abs=1e-4)
                cases += 1
    assert cases == 2000


def test_each_image_may_have_a_lexicon_of_its_own() -> None:
    log_probs_NTV = random_log_probs(0, 3, 8, 4)
    lexicons = [Lexicon(entries, ABC) for entries in (["a", "b"], ["cab"], ["abc", "cba", "bac"])]
    together = decode_with_lexicon(log_probs_NTV, ABC, lexicons)
    alone = [decode_with_lexicon(log_probs_NTV[i : i + 1], ABC, lexicons[i])[0] for i in range(3)]
    assert [h.text for h in together] == [h.text for h in alone]
    assert [h.log_prob for h in together] == pytest.approx([h.log_prob for h in alone])
    assert decode_with_lexicon(log_probs_NTV[:0], ABC, []) == []


def test_large_batches_are_decoded_as_small_ones() -> None:
    log_probs_NTV = random_log_probs(0, 150, 8, 4)
    shared, own = Lexicon(["a", "cab", "bb"], ABC), [Lexicon(["ab", "abc"[i % 3]], ABC) for i in range(150)]
    for lexicons in (shared, own):
        each = [shared] * 150 if lexicons is shared else own
        together = decode_with_lexicon(log_probs_NTV, ABC, lexicons)
        alone = [decode_with_lexicon(log_probs_NTV[i : i + 1], ABC, each[i])[0] for i in range(150)]
        assert [h.text for h in together] == [h.text for h in alone]


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 40))
def test_the_n_best_entries_come_in_order_and_none_is_missed(seed: int, n_best: int) -> None:
    generator = np.random.default_rng(seed)
    lexicon = Lexicon(["".join(generator.choice(list("abc"), n)) for n in generator.integers(1, 7, 90)], ABC)
    log_probs_NTV = random_log_probs(seed, 1, 12, 4, 4.0)
    (found,) = decode_with_lexicon(log_probs_NTV, ABC, lexicon, n_best=n_best)
    truth = sorted(scores(log_probs_NTV[0], lexicon).values(), reverse=True)[:n_best]
    truth = [score for score in truth if score > -math.inf]
    listed = [found.log_prob, *(h.log_prob for h in found.alternatives)]
    assert listed == pytest.approx(truth, abs=1e-4)


def test_equally_likely_entries_are_decided_by_their_order() -> None:
    log_probs_NTV = torch.zeros(1, 6, 4).log_softmax(-1)
    assert decode_with_lexicon(log_probs_NTV, ABC, Lexicon(["ab", "ba", "ca"], ABC))[0].text == "ab"
    assert decode_with_lexicon(log_probs_NTV, ABC, Lexicon(["ca", "ba", "ab"], ABC))[0].text == "ca"


def test_where_no_entry_is_near_enough_the_nearest_are_considered() -> None:
    log_probs_NTV = random_log_probs(3, 1, 12, 4, 9.0)
    path = best_path(log_probs_NTV, ABC)[0].text
    entries = ["c", path[:-3], path[3:], path + "ababab"]
    assert min(edit_distance(path, entry) for entry in entries) == 3
    lexicon = Lexicon(entries, ABC)
    (found,) = decode_with_lexicon(log_probs_NTV, ABC, lexicon, max_distance=1, n_best=4)
    truth = scores(log_probs_NTV[0], lexicon)
    listed = {h.text: h.log_prob for h in (found, *found.alternatives)}
    assert listed == pytest.approx({w: truth[w] for w in (path[:-3], path[3:])}, abs=1e-4)


def test_confidence_is_the_share_among_the_entries_considered() -> None:
    path = ALNUM36.encode("abcdefgh")
    log_probs_NTV = torch.nn.functional.one_hot(torch.tensor([path]), 37).float().mul(9).log_softmax(-1)
    lexicon = Lexicon(["abcde", "stuvefgh"], ALNUM36)
    (near,) = decode_with_lexicon(log_probs_NTV, ALNUM36, lexicon, max_distance=3)
    assert (near.text, near.confidence) == ("abcde", 1.0)  # nothing else is within 3 edits
    (found,) = decode_with_lexicon(log_probs_NTV, ALNUM36, lexicon)
    truth = scores(log_probs_NTV[0], lexicon)
    share = 1 / sum(math.exp(score - truth[found.text]) for score in truth.values())
    assert found.confidence == pytest.approx(share, abs=1e-6)
    assert share < 1


def test_unusable_entries_are_dropped_and_counted() -> None:
    lexicon = Lexicon(["Word", "word", " ", "", "café", "WORD ", "two"], ALNUM36)
    assert lexicon.entries == ("word", "two")
    assert lexicon.dropped == {"duplicate": 2, "blank": 2, "outside_charset": 1}
    assert len(lexicon) == 2
    # A charset that drops what it can't write makes another word of "café", and none of "?".
    lexicon = Lexicon(["Don't", "café", "?", "caf"], ALNUM36_DROP)
    assert lexicon.entries == ("dont", "caf")
    assert lexicon.dropped == {"outside_charset": 1, "blank": 1}


@pytest.mark.parametrize("entries", [[], [""], ["é", " "]])
def test_a_lexicon_without_a_usable_entry_is_refused(entries: list[str]) -> None:
    with pytest.raises(LexiconError, match="Not one entry"):
        Lexicon(entries, ALNUM36)


def test_entries_that_do_not_fit_into_the_frames_are_no_alternatives() -> None:
    lexicon = Lexicon(["ab", "aab", "abcabc"], ABC)
    (found,) = decode_with_lexicon(random_log_probs(0, 1, 3, 4), ABC, lexicon, n_best=3)
    assert (found.text, found.alternatives) == ("ab", ())


def test_an_endless_line_costs_no_memory_and_is_counted() -> None:
    lexicon = Lexicon(["ab", "a" * 20_000, "b"], ABC)
    assert lexicon.dropped == {"too_long": 1}
    assert lexicon.texts.classes_ES.shape == (2, 2)


@pytest.mark.parametrize("charset", [Charset(characters="cba"), Charset(characters="abcd")])
def test_a_lexicon_of_another_charset_is_refused(charset: Charset) -> None:
    log_probs_NTV = random_log_probs(0, 2, 5, 4)
    for lexicons in (Lexicon(["ab"], charset), [Lexicon(["ab"], ABC), Lexicon(["ab"], charset)]):
        with pytest.raises(LexiconError, match="another"):
            decode_with_lexicon(log_probs_NTV, ABC, lexicons)


def test_of_one_word_that_word_is_read() -> None:
    (found,) = decode_with_lexicon(random_log_probs(0, 1, 9, 4), ABC, Lexicon(["abc"], ABC), n_best=5)
    assert (found.text, found.confidence, found.alternatives) == ("abc", 1.0, ())


def test_a_lexicon_travels_between_processes() -> None:
    lexicon = pickle.loads(pickle.dumps(Lexicon(["ab", "c"], ABC)))
    assert lexicon.neighbours("a", 1).tolist() == [0, 1]
