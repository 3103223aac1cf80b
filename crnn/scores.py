"""What a language model says after each context that searches came to, as rows of one array.

Shapes: P prefixes, S contexts met so far, E texts, V classes of the charset with the blank at 0.
"""

from collections.abc import Sequence
from threading import Lock
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from crnn.charset import BLANK
from crnn.forward import TextTable

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
_ROWS = 256
"""That a table begins with; they double when they are full."""
_MANY = 1 << 16
"""Contexts from which a table is full, at 1.1 kB each: what a few thousand doubtful words come to."""


class PrefixScorer(Protocol):
    """A language model over characters."""

    @property
    def order(self) -> int:
        """Characters that a score depends on, the next one included."""
        ...

    def next_scores(self, prefixes: Sequence[tuple[int, ...]]) -> Floats:
        """Natural log p(next | prefix) of each class after each prefix, finite; [P, V], column 0 is the end
        of the text."""
        ...


class ScoreTable:
    """A model's scores, asked for once a context; for any number of threads.

    A state is the row of a context, the last `order - 1` characters of a prefix; 0 is the empty one's.

    Args:
        model: Whom to ask.
        num_classes: V, of its charset.
    """

    def __init__(self, model: PrefixScorer, num_classes: int) -> None:
        self._model, self.num_classes = model, num_classes
        self._contexts: list[tuple[int, ...]] = []
        self._states: dict[tuple[int, ...], int] = {}
        self._after_SV = np.zeros((0, num_classes), np.int32)
        self._lock = Lock()
        self.log_probs_SV = np.zeros((0, num_classes))
        """Natural log p(next | context); rows beyond the contexts met so far mean nothing."""
        self._add([()])

    def __reduce__(self) -> tuple[Any, ...]:
        return ScoreTable, (self._model, self.num_classes)

    @property
    def is_full(self) -> bool:
        """Whether it's time to begin another one for the next search; a search is never cut short."""
        return len(self._contexts) >= _MANY

    def advance(self, states: Indices, classes: Indices) -> Indices:
        """The states after another character each."""
        after = self._after_SV[states, classes].astype(np.int64)
        unknown = np.flatnonzero(after < 0)
        if len(unknown):
            with self._lock:
                pairs = zip(states[unknown].tolist(), classes[unknown].tolist(), strict=True)
                contexts = [self._context((*self._contexts[state], code)) for state, code in pairs]
                self._add([c for c in dict.fromkeys(contexts) if c not in self._states])
                after[unknown] = [self._states[context] for context in contexts]
                self._after_SV[states[unknown], classes[unknown]] = after[unknown]
        return after

    def text_log_probs(self, texts: TextTable) -> Floats:
        """Natural log of the probability of each text, its end included; [E]."""
        count, longest = texts.classes_ES.shape
        states, total = np.zeros(count, np.int64), np.zeros(count)
        for at in range(longest):
            open_ = np.flatnonzero(texts.lengths_E > at)
            classes = texts.classes_ES[open_, at]
            total[open_] += self.log_probs_SV[states[open_], classes]
            states[open_] = self.advance(states[open_], classes)
        scores: Floats = total + self.log_probs_SV[states, BLANK]
        return scores

    def _context(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        return prefix[max(0, len(prefix) - self._model.order + 1) :]

    def _add(self, contexts: Sequence[tuple[int, ...]]) -> None:
        first, end = len(self._contexts), len(self._contexts) + len(contexts)
        if end > len(self.log_probs_SV):
            more = max(end, _ROWS)
            # Others may read the old arrays meanwhile: states that they know stand there as well.
            self.log_probs_SV = np.pad(self.log_probs_SV, ((0, more), (0, 0)))
            self._after_SV = np.pad(self._after_SV, ((0, more), (0, 0)), constant_values=-1)
        if contexts:
            self.log_probs_SV[first:end] = self._model.next_scores(contexts)
        self._contexts += contexts
        self._states.update(zip(contexts, range(first, end), strict=True))
