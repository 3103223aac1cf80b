"""How fast texts are found in ready posteriors: words a second of one core, by the way of decoding."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np

from crnn.beam import Prior, prefix_beam_search
from crnn.charset import ALNUM36
from crnn.decode import best_path
from crnn.fusion import Fusion
from crnn.language_model import CharacterModel
from crnn.lexicon import Lexicon, decode_with_lexicon
from crnn.scores import ScoreTable
from crnn.vocabulary import Vocabulary
from pipeline.benchmark.measure import Row, Setting, memory_bytes_per_second, rate, row, torch_threads
from pipeline.benchmark.posteriors import Pack, peaked_posteriors
from pipeline.language import READING
from pipeline.lexicons import PAPERS_DISTANCE

LARGE, SMALL = 50_000, 50
"""Entries of the lexicons: the paper's largest, and those that SVT's images have."""
_WORDS = 512
_PACK_STEP = 4  # slow ways are measured on every fourth pack
_STRANGERS, _STRANGE_LENGTH = 32, 14
"""Texts that no lexicon holds anything like, and their characters: codes and serial numbers."""
_STAGE, _UNIT = "decode", "words/s"


def common_words(count: int) -> list[str]:
    """English words of letters and digits, most frequent first.

    Returns:
        Fewer than `count` where the language has no more.
    """
    from wordfreq import top_n_list

    # Some of the list are no plain words: ask for more.
    listed = top_n_list("en", 2 * count)
    return [word for word in listed if not ALNUM36.unsupported(word)][:count]


def own_lexicons(packs: Sequence[Pack], words: Sequence[str], size: int = SMALL) -> list[list[Lexicon]]:
    """A lexicon for each image of each pack: its word, and others drawn from `words`."""
    generator = np.random.default_rng(1)
    return [
        [
            Lexicon([word, *(words[i] for i in generator.integers(0, len(words), size - 1))], ALNUM36)
            for word in pack.words
        ]
        for pack in packs
    ]


def strange_texts(count: int) -> list[str]:
    """Random characters: no word of a language is near."""
    generator = np.random.default_rng(2)
    return ["".join(generator.choice(list(ALNUM36.characters), _STRANGE_LENGTH)) for _ in range(count)]


def decoding(setting: Setting) -> Iterator[Row]:
    """Best path, beams and lexicons, on posteriors that are peaked as a trained network's.

    Reading the posteriors from memory bounds the best path; it bounds all others, which look at it first.
    """
    words = common_words(LARGE)
    generator = np.random.default_rng(0)
    packs = peaked_posteriors([words[i] for i in generator.integers(0, len(words), _WORDS)], ALNUM36, seed=0)
    small, large = own_lexicons(packs, words), Lexicon(words, ALNUM36)
    strange = peaked_posteriors(strange_texts(_STRANGERS), ALNUM36, seed=1)

    def over_packs(decode: Callable[[int], object], step: int = 1) -> int:
        chosen = range(0, len(packs), step)
        for i in chosen:
            decode(i)
        return sum(len(packs[i].words) for i in chosen)

    def with_large(distance: int | None, i: int) -> object:
        return decode_with_lexicon(packs[i].log_probs_NTV, ALNUM36, large, max_distance=distance)

    def with_nothing_near() -> int:
        for pack in strange:
            decode_with_lexicon(pack.log_probs_NTV, ALNUM36, large, max_distance=PAPERS_DISTANCE)
        return _STRANGERS

    size = sum(pack.log_probs_NTV.nbytes for pack in packs) / _WORDS
    bytes_per_second = memory_bytes_per_second(setting)
    with torch_threads(1):

        def measure(name: str, work: Callable[[], int], best: float | None = None) -> Row:
            found = rate(work, setting, time.process_time)
            if best is None:
                ceiling, bound = bytes_per_second / size, "reading the posteriors from memory"
            else:
                ceiling, bound = best, "best path"
            return row(_STAGE, name, _UNIT, found, ceiling=ceiling, bound=bound)

        best = measure("best path", lambda: over_packs(lambda i: best_path(packs[i].log_probs_NTV, ALNUM36)))
        yield best
        quick: dict[str, Callable[[int], object]] = {
            "best path with spans": lambda i: best_path(packs[i].log_probs_NTV, ALNUM36, spans=True),
            f"{SMALL}-word lexicons": lambda i: decode_with_lexicon(
                packs[i].log_probs_NTV, ALNUM36, small[i]
            ),
        }
        for name, decode in quick.items():
            yield measure(name, partial(over_packs, decode), best.value)
        slow = {"as in the paper": PAPERS_DISTANCE, "exact": None}
        for name, distance in slow.items():
            decode = partial(with_large, distance)
            full = f"{LARGE:,}-word lexicon {name}"
            yield measure(full, partial(over_packs, decode, _PACK_STEP), best.value)
        yield measure(f"{LARGE:,}-word lexicon as in the paper, no entry near", with_nothing_near, best.value)
        n_gram = CharacterModel(words, ALNUM36)
        # As often as by Zipf's law: how often exactly changes no time.
        vocabulary = Vocabulary({word: 1 / rank for rank, word in enumerate(words, start=1)}, ALNUM36)
        fusion = Fusion(model=n_gram, vocabulary=vocabulary, config=READING)

        def decide(i: int) -> object:
            return fusion.decide(best_path(packs[i].log_probs_NTV, ALNUM36), packs[i].log_probs_NTV, ALNUM36)

        yield measure("language model where unsure", partial(over_packs, decide, _PACK_STEP), best.value)
        prior = Prior(scores=ScoreTable(n_gram, ALNUM36.num_classes))
        searches: dict[str, Callable[..., object]] = {
            "beam 4": partial(prefix_beam_search, beam_width=4),
            "beam 16": partial(prefix_beam_search, beam_width=16),
            "beam 16 with n-gram": partial(prefix_beam_search, beam_width=16, prior=prior),
        }

        def search_pack(search: Callable[..., object], i: int) -> object:
            return search(packs[i].log_probs_NTV, ALNUM36)

        for name, search in searches.items():
            yield measure(name, partial(over_packs, partial(search_pack, search), _PACK_STEP), best.value)
