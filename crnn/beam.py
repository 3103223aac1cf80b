"""Prefix beam search that sums over alignments, many items at a time, with or without a language model.

Shapes: N items, T frames, V classes with the blank at 0, B prefixes in the widest beam, K candidates of an
item in a frame (B prefixes that stay as they are and B · V that grow), C that are kept, of all items.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from crnn.charset import BLANK, Charset
from crnn.decode import Hypothesis
from crnn.scores import Floats, Indices, ScoreTable

Names = npt.NDArray[np.uint64]
_ROOM = 1 << 17
"""Candidates that are weighed at once, of several items where beams are narrow: what a core's cache holds."""
_MIX, _FOLD = np.uint64(0x9E3779B97F4A7C15), np.uint64(31)
"""2^64 divided by the golden ratio, odd and without a pattern in its bits; and how far bits are folded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """What a language model adds to log p(prefix | image) where prefixes are ranked:
    weight · log p_lm(prefix) + length_bonus · length."""

    scores: ScoreTable
    weight: float = 0.5
    length_bonus: float = 0.0


def prefix_beam_search(
    items: Sequence[Tensor] | Tensor,
    charset: Charset,
    *,
    beam_width: int = 16,
    n_best: int = 1,
    prior: Prior | None = None,
) -> list[Hypothesis]:
    """The likeliest text of each item found by extending its `beam_width` likeliest prefixes frame by frame.

    Probabilities are summed over alignments (Graves and Jaitly 2014; Hannun et al. 2014). The result is exact
    where the beam holds every prefix, and doesn't depend on what else is searched at once.

    Args:
        items: float32 [T, V] each, normalised over V, on the CPU; T may differ. What isn't a number counts as
            impossible; where nothing is possible, the text is empty and its confidence 0.
        charset: Whose classes V are.
        beam_width: Prefixes that are kept from frame to frame, at least 1.
        n_best: How many texts to give; those after the first are its `alternatives`.
        prior: A language model, to be heard when prefixes are ranked.

    Raises:
        ValueError: A beam of no prefix, or items or a prior of another number of classes.

    Returns:
        log_prob is log p(text | image) as far as the beam saw its alignments, without the language model;
        confidence is its share among all texts that the beam holds at the end, weighed by their ranks.
    """
    if beam_width < 1:
        raise ValueError(f"A beam holds 1 prefix at least; beam_width is {beam_width}.")
    num_classes = charset.num_classes
    for item in items:
        if item.ndim != 2 or item.shape[1] != num_classes:
            raise ValueError(f"Items are [T, {num_classes}] each; one is {list(item.shape)}.")
    if prior is not None and prior.scores.num_classes != num_classes:
        raise ValueError(
            f"The prior scores {prior.scores.num_classes} classes, the charset has {num_classes}."
        )
    frames = [np.where(np.isnan(item), -np.inf, item) for item in (each.double().numpy() for each in items)]
    found: dict[int, Hypothesis] = {}
    # The longest first, so that those that have a frame left are always the first ones.
    order = sorted(range(len(frames)), key=lambda i: -len(frames[i]))
    many = max(1, _ROOM // (beam_width * num_classes))
    for start in range(0, len(order), many):
        members = order[start : start + many]
        beams = _Beams(len(members), beam_width, prior)
        for t in range(len(frames[members[0]]) + 1):
            active = sum(len(frames[i]) > t for i in members)
            done, members = members[active:], members[:active]
            found.update(zip(done, beams.finish(len(done), charset, max(n_best, 1)), strict=True))
            if members:
                beams.take(np.stack([frames[i][t] for i in members]))
    return [found[i] for i in range(len(frames))]


class _Prefixes(NamedTuple):
    """Of N items; [N, B] each. An entry without probability holds none."""

    blank: Floats
    """log p of the alignments that end in a blank."""
    character: Floats
    """log p of those that end in the prefix' last character."""
    prior: Floats
    last: Indices
    """The last character, or the blank where there is none."""
    state: Indices
    """Of the language model's table."""
    node: Indices
    """Where the last character is written down, and the node of the one before it; -1 of none."""
    name: Names
    """Mixed of the item and the prefix' characters: two agree by chance once in 2^64."""
    parent: Names
    """Name of the prefix without its last character."""

    def of(self, items: slice) -> "_Prefixes":
        """Those of some items."""
        arrays: tuple[npt.NDArray[Any], ...] = self
        return _Prefixes(*(values[items] for values in arrays))

    @property
    def total(self) -> Floats:
        """log p of all alignments."""
        return np.logaddexp(self.blank, self.character)


class _Beams:
    """The prefixes that are followed in N items, and how they are spelt."""

    def __init__(self, count: int, width: int, prior: Prior | None) -> None:
        self._width, self._model = width, prior
        none = np.zeros((count, 1))
        name = np.arange(1, count + 1, dtype=np.uint64)[:, None] * _MIX
        index = none.astype(np.int64)
        self._held = _Prefixes(
            none, none - np.inf, none, index + BLANK, index, index - 1, name, np.zeros_like(name)
        )
        self._trail = np.zeros((2, 0), np.int64)
        """By node: the node before it, and the character."""

    def take(self, frame_NV: Floats) -> None:
        """Lets the prefixes grow by a frame, and keeps the best ones of each item."""
        held, (count, num_classes) = self._held, frame_NV.shape
        width = held.last.shape[1]
        total, of_last = held.total, np.take_along_axis(frame_NV, held.last, axis=1)
        blank = total + frame_NV[:, BLANK, None]
        character = np.where(held.last == BLANK, -np.inf, held.character + of_last)
        grow = total[:, :, None] + frame_NV[:, None, :]
        # A character that equals the last one is a new one only after a blank.
        np.put_along_axis(grow, held.last[:, :, None], (held.blank + of_last)[:, :, None], axis=2)
        grow[:, :, BLANK] = -np.inf
        # What grows into a prefix that the beam holds already belongs to that one.
        child, parent = _kin(held, np.flatnonzero(total > -np.inf))
        code, by_prefix, joined = held.last.ravel()[child], grow.reshape(-1, num_classes), character.ravel()
        joined[child] = np.logaddexp(joined[child], by_prefix[parent, code])
        by_prefix[parent, code] = -np.inf

        ranks, priors = np.empty((count, width * (1 + num_classes))), self._priors()
        ranks[:, :width] = np.logaddexp(blank, character) + held.prior
        np.add(grow, priors, out=ranks[:, width:].reshape(grow.shape))
        item, candidate = _largest(ranks, self._width)
        stays = candidate < width
        row, code = np.divmod(candidate - width, num_classes)
        row, code = np.where(stays, candidate, row), np.where(stays, BLANK, code)
        of_prefix, of_class = (item, row), (item, row, code)
        self._keep(
            of_prefix,
            code,
            blank=np.where(stays, blank[of_prefix], -np.inf),
            character=np.where(stays, character[of_prefix], grow[of_class]),
            prior=np.where(stays, held.prior[of_prefix], np.broadcast_to(priors, grow.shape)[of_class]),
        )

    def _priors(self) -> Floats:
        """Of what has grown by a class; [N, B, V], or of any class."""
        priors = self._held.prior[:, :, None]
        if self._model is None:
            return priors
        heard = self._model.scores.log_probs_SV[self._held.state]
        heard *= self._model.weight
        heard += priors + self._model.length_bonus
        return heard

    def _keep(
        self, origin: tuple[Indices, Indices], code: Indices, blank: Floats, character: Floats, prior: Floats
    ) -> None:
        """Holds the candidates from now on: those of an item beside each other, their arrays [C].

        Args:
            origin: Item and entry of the prefix that stays or grows.
            code: By which it grows; the blank where it stays.
        """
        held = self._held
        last, state, node = held.last[origin], held.state[origin], held.node[origin]
        name, parent = held.name[origin], held.parent[origin]
        grown = np.flatnonzero(code != BLANK)
        code = code[grown]
        written = self._trail.shape[1] + np.arange(len(grown))
        self._trail = np.concatenate([self._trail, [node[grown], code]], axis=1)
        last[grown], node[grown], parent[grown] = code, written, name[grown]
        mixed = (name[grown] ^ code.astype(np.uint64)) * _MIX
        name[grown] = (mixed ^ (mixed >> _FOLD)) * _MIX
        if self._model is not None:
            state[grown] = self._model.scores.advance(state[grown], code)
        item = origin[0]
        counts = np.bincount(item, minlength=len(held.last))
        entry = np.arange(len(item)) - (counts.cumsum() - counts)[item]

        def placed(values: npt.NDArray[Any], rest: float = 0) -> npt.NDArray[Any]:
            made = np.full((len(counts), max(counts.max(), 1)), rest, values.dtype)
            made[item, entry] = values
            return made

        self._held = _Prefixes(
            *(placed(values, -np.inf) for values in (blank, character)),
            *(placed(values) for values in (prior, last, state, node, name, parent)),
        )

    def finish(self, count: int, charset: Charset, n_best: int) -> list[Hypothesis]:
        """The texts of the last `count` items, whose beams are dropped."""
        first = len(self._held.last) - count
        ended, self._held = self._held.of(slice(first, None)), self._held.of(slice(first))
        total = ended.total
        rank = total + ended.prior
        if self._model is not None:
            rank += self._model.weight * self._model.scores.log_probs_SV[ended.state, BLANK]
        everything = np.logaddexp.reduce(rank, axis=1)
        found = []
        for i in range(count):
            # The n-th best and its equals, which are ordered by their spelling.
            least = np.sort(rank[i])[max(rank.shape[1] - n_best, 0)]
            several = np.flatnonzero((rank[i] >= least) & (rank[i] > -np.inf))
            spelt = sorted((-rank[i, j], self._spelt(ended.node[i, j]), j) for j in several)
            texts = [
                Hypothesis(
                    charset.decode(codes), float(total[i, j]), min(exp(rank[i, j] - everything[i]), 1.0)
                )
                for _, codes, j in spelt[:n_best]
            ] or [Hypothesis("", -np.inf, 0.0)]
            found.append(replace(texts[0], alternatives=tuple(texts[1:])))
        return found

    def _spelt(self, node: int) -> tuple[int, ...]:
        codes = []
        while node >= 0:
            node, code = self._trail[:, node].tolist()
            codes.append(code)
        return tuple(codes[::-1])


def _kin(held: _Prefixes, alive: Indices) -> tuple[Indices, Indices]:
    """Entries that are another one's prefix and a character more, and those others'."""
    names, wanted = held.name.ravel()[alive], held.parent.ravel()[alive]
    order = np.argsort(names)
    at = order[np.minimum(np.searchsorted(names, wanted, sorter=order), len(names) - 1)]
    same = names[at] == wanted
    return alive[same], alive[at[same]]


def _largest(ranks_NK: Floats, count: int) -> tuple[Indices, Indices]:
    """Rows and columns of each row's largest finite values, at most `count`; of equals, the first ones."""
    size = ranks_NK.shape[1]
    chosen = ranks_NK > -np.inf
    if size > count:
        least = np.partition(ranks_NK, size - count, axis=1)[:, size - count]
        chosen &= ranks_NK >= least[:, None]
        for row in np.flatnonzero(np.count_nonzero(chosen, axis=1) > count).tolist():
            equal = np.flatnonzero(ranks_NK[row] == least[row])
            chosen[row, equal[count - np.count_nonzero(ranks_NK[row] > least[row]) :]] = False
    rows, columns = np.nonzero(chosen)
    return rows, columns
