"""How fast texts are found in ready log-probabilities, in process CPU time on one thread."""

import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from crnn.charset import Charset
from crnn.decode import best_path, prefix_beam_search
from crnn.lexicon import Lexicon, decode_with_lexicon
from pipeline.readings import PAPERS_DISTANCE

_BEAM_ITEMS = 32
_LEAST_SECONDS = 0.5


def decoding_speeds(
    packs: Sequence[Tensor],
    charset: Charset,
    *,
    own_lexicons: Sequence[Sequence[Lexicon]] | None = None,
    large_lexicon: Lexicon | None = None,
) -> dict[str, float]:
    """Words a second of one core, by the way of decoding.

    Args:
        packs: Log-probabilities as the recogniser gives them, float32 [N, T, V] each. Real ones: how peaked
            they are decides how many lexicon entries have to be looked at.
        own_lexicons: A small lexicon for each item of each pack.
        large_lexicon: One for all items.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        everything: dict[str, Callable[[int], object]] = {
            "best_path": lambda i: best_path(packs[i], charset),
            "best_path_with_spans": lambda i: best_path(packs[i], charset, spans=True),
        }
        if own_lexicons is not None:
            everything["own_lexicon"] = lambda i: decode_with_lexicon(packs[i], own_lexicons[i])
        if large_lexicon is not None:
            everything["large_lexicon_as_in_the_paper"] = lambda i: decode_with_lexicon(
                packs[i], large_lexicon, max_distance=PAPERS_DISTANCE
            )
            everything["large_lexicon_exact"] = lambda i: decode_with_lexicon(packs[i], large_lexicon)
        speeds = {
            name: _speed(decode, [pack.shape[0] for pack in packs]) for name, decode in everything.items()
        }
        items = [item for pack in packs for item in pack][:_BEAM_ITEMS]
        for width in (4, 16):
            search = partial(prefix_beam_search, charset=charset, beam_width=width)
            speeds[f"beam_{width}"] = _speed(partial(_nth, search, items), [1] * len(items))
        return speeds
    finally:
        torch.set_num_threads(threads)


def _nth(search: Callable[[Tensor], object], items: Sequence[Tensor], i: int) -> object:
    return search(items[i])


def _speed(decode: Callable[[int], object], sizes: Sequence[int]) -> float:
    """Words a second over whole rounds, after one that isn't counted."""
    for i in range(len(sizes)):
        decode(i)
    began, done = time.process_time(), 0
    while time.process_time() - began < _LEAST_SECONDS:
        for i in range(len(sizes)):
            decode(i)
        done += sum(sizes)
    return done / (time.process_time() - began)
