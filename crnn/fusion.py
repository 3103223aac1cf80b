"""Reading with a language model: beam search decides where the best path is unsure.

Shallow fusion (Gülçehre et al. 2015, arXiv 1503.03535): texts are ranked by
log p(text | image) + weight · log p_lm(text) + length_bonus · length, where p_lm mixes a character n-gram
with a vocabulary of whole words. A path that is sure stands as it is, so that most words cost nothing, and
codes that no language knows are read as they stand there. Of several looks at an image, log p(text | image)
is the mean.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import exp, inf, isfinite, log
from typing import Any

import numpy as np
from torch import Tensor

from crnn.beam import Prior, prefix_beam_search
from crnn.charset import BLANK, Charset
from crnn.decode import Hypothesis
from crnn.errors import ModelConfigError
from crnn.forward import Indices, TextTable, text_log_probs
from crnn.language_model import CharacterModel
from crnn.scores import Floats, ScoreTable
from crnn.vocabulary import Vocabulary

MAX_BEAM = 1 << 14
_TINY = 1e-300
_IDLE = -1e-2
"""Natural logarithm of a blank's probability in frames of which one in a row is as good as all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FusionConfig:
    """How much a language model has to say.

    Raises:
        ModelConfigError: Numbers outside of their ranges.
    """

    weight: float = 0.4
    """Of the language model's log-probability."""
    length_bonus: float = 1.0
    """For each character: a language model alone likes short texts."""
    beam_width: int = 8
    """Prefixes that are followed."""
    sure: float = 0.9
    """Probability of the best path from which its text stands."""
    looks_below: float = 0.8
    """Confidence below which an image is looked at again, see `crnn.looks`; 0 never does."""
    known: float = 0.0
    """Share of all texts that are words of the vocabulary; 0 where there is none."""

    def __post_init__(self) -> None:
        sound = isinstance(self.beam_width, int) and 1 <= self.beam_width <= MAX_BEAM
        sound = sound and 0 <= self.sure <= 1 and 0 <= self.looks_below <= 1 and 0 <= self.known < 1
        if not (sound and isfinite(self.length_bonus) and 0 <= self.weight < inf):
            raise ModelConfigError(
                f"weight is 0 or more, length_bonus a number, beam_width 1 to {MAX_BEAM}, sure and "
                f"looks_below from 0 to 1, known less than 1: {self}."
            )

    def to_dict(self) -> dict[str, Any]:
        """For the bundle; what only a vocabulary asks for isn't there without one."""
        values = asdict(self)
        if not self.known:
            del values["known"]
        return values


@dataclass(frozen=True, kw_only=True, slots=True)
class Fusion:
    """A language model and how much it has to say.

    Raises:
        ModelConfigError: A vocabulary whose share isn't told, a share without a vocabulary, or two charsets.
    """

    model: CharacterModel
    vocabulary: Vocabulary | None = None
    config: FusionConfig = field(default_factory=FusionConfig)
    _scores: ScoreTable = field(init=False, repr=False, compare=False)
    """The model's answers so far."""

    def __post_init__(self) -> None:
        if (self.vocabulary is None) != (self.config.known == 0):
            raise ModelConfigError(f"A vocabulary needs its share, known, and none has none: {self.config}.")
        if self.vocabulary is not None and self.vocabulary.charset != self.model.charset:
            raise ModelConfigError("The vocabulary is of another charset than the n-gram.")
        self._begin_scores()

    def _begin_scores(self) -> None:
        object.__setattr__(self, "_scores", ScoreTable(self.model, self.model.charset.num_classes))

    def is_unsure(self, hypothesis: Hypothesis) -> bool:
        """Whether a best path leaves room for doubt."""
        return hypothesis.confidence < self.config.sure

    def search(
        self, items: Sequence[Tensor] | Tensor, charset: Charset, *, n_best: int = 1, beam: int = 1
    ) -> list[Hypothesis]:
        """As `search_looks`, with one look at each image."""
        return self.search_looks([[item] for item in items], charset, n_best=n_best, beam=beam)

    def search_looks(
        self, images: Sequence[Sequence[Tensor]], charset: Charset, *, n_best: int = 1, beam: int = 1
    ) -> list[Hypothesis]:
        """The likeliest of the texts that beam search finds in any of the looks at an image.

        Args:
            images: Of each, one look or several: float32 [T, V], normalised over V, on the CPU. A text fits
                into the frames of all of them.
            charset: Of the recogniser.
            n_best: How many texts to give; those after the first are `alternatives`.
            beam: Prefixes to follow at least.

        Returns:
            confidence is the text's share among all that were found, by their ranks; log_prob is its
            natural logarithm.
        """
        if not images:
            return []
        if self._scores.is_full:
            self._begin_scores()
        config, width = self.config, max(self.config.beam_width, beam)
        prior = Prior(scores=self._scores, weight=config.weight, length_bonus=config.length_bonus)
        searched = iter(
            prefix_beam_search(
                [_without_waiting(look) for looks in images for look in looks],
                charset,
                beam_width=width,
                n_best=width,
                prior=prior,
            )
        )
        found = []
        for looks in images:
            several = [next(searched) for _ in looks]
            texts = {text.text for best in several for text in (best, *best.alternatives)}
            found.append(sorted(texts, key=charset.classes))
        return self._ranked(images, found, charset, n_best)

    def _ranked(
        self, images: Sequence[Sequence[Tensor]], found: list[list[str]], charset: Charset, n_best: int
    ) -> list[Hypothesis]:
        """The best of the texts that were found in each image, by all looks at it."""
        texts = [text for each in found for text in each]
        table = TextTable.of([charset.classes(text) for text in texts])
        ends = np.cumsum([0, *map(len, found)])
        seen = _seen(images, ends, table)
        ranks = seen + self.config.length_bonus * table.lengths_E
        if self.config.weight:
            ranks += self.config.weight * self._language(texts, table)
        return [
            _best(part, rank, n_best) for part, rank in zip(found, np.split(ranks, ends[1:-1]), strict=True)
        ]

    def _language(self, texts: list[str], table: TextTable) -> Floats:
        """log p_lm of each text."""
        spelt = self._scores.text_log_probs(table)
        if self.vocabulary is None:
            return spelt
        known = self.config.known
        mixed: Floats = np.logaddexp(log(known) + self.vocabulary.log_probs(texts), log(1 - known) + spelt)
        return mixed

    def decide(
        self, paths: Sequence[Hypothesis], log_probs_NTV: Tensor, charset: Charset
    ) -> list[Hypothesis]:
        """The best path's text of each item where it is sure, else beam search's.

        Args:
            paths: Of `crnn.decode.best_path`.
            log_probs_NTV: What they were found in, on any device.
            charset: Of the recogniser.
        """
        decided, unsure = list(paths), [i for i, path in enumerate(paths) if self.is_unsure(path)]
        if unsure:
            found = self.search(log_probs_NTV[unsure].cpu(), charset)
            for i, hypothesis in zip(unsure, found, strict=True):
                decided[i] = hypothesis
        return decided


def _without_waiting(log_probs_TV: Tensor) -> Tensor:
    """The frames without those that only follow another one of a sure blank."""
    idle = log_probs_TV[:, BLANK] > _IDLE
    idle[1:] &= idle[:-1].clone()
    idle[:1] = False
    return log_probs_TV[~idle]


def _seen(images: Sequence[Sequence[Tensor]], ends: Indices, table: TextTable) -> Floats:
    """Mean of log p(text | look) over the looks at its image of each text; [E].

    Args:
        images: The looks at each.
        ends: Where the texts of each image begin, and one past the last.
        table: The texts, image by image.
    """
    counts = np.array([len(looks) for looks in images])
    each_KE = np.zeros((counts.max(), ends[-1]))
    same: dict[int, list[tuple[int, int]]] = {}
    for i, looks in enumerate(images):
        for k, look in enumerate(looks):
            same.setdefault(len(look), []).append((i, k))
    for members in same.values():  # looks of as many frames are one array
        stacked = np.stack([images[i][k].numpy() for i, k in members])
        stacked[np.isnan(stacked)] = -np.inf
        rows = [np.arange(ends[i], ends[i + 1]) for i, _ in members]
        lengths = [len(each) for each in rows]
        row_E, look_E = np.concatenate(rows), np.repeat([k for _, k in members], lengths)
        asked = np.repeat(np.arange(len(members)), lengths)
        each_KE[look_E, row_E] = text_log_probs(stacked[:, None], asked, table.take(row_E))
    mean: Floats = each_KE.sum(axis=0) / np.repeat(counts, np.diff(ends))
    return mean


def _best(texts: list[str], ranks: Floats, n_best: int) -> Hypothesis:
    """Of texts in the order of their spelling, the first of equals first."""
    if not np.isfinite(ranks).any():
        return Hypothesis("", log(_TINY), 0.0)
    shares = ranks - np.logaddexp.reduce(ranks)
    order = np.argsort(-ranks, kind="stable")[: max(n_best, 1)]
    best, *others = (
        Hypothesis(texts[i], min(float(shares[i]), 0.0), min(exp(shares[i]), 1.0))
        for i in order
        if np.isfinite(ranks[i])
    )
    return replace(best, alternatives=tuple(others))


def headed(several: Hypothesis, first: Hypothesis) -> Hypothesis:
    """The texts of a search, but the one that is read when only one is asked for ahead of the others; its
    confidence, too, is its share among the texts of a search."""
    texts = [replace(several, alternatives=()), *several.alternatives]
    alone = replace(first, confidence=exp(first.log_prob))
    known = next((text for text in texts if text.text == first.text), alone)
    others = [text for text in texts if text.text != first.text]
    return replace(known, alternatives=tuple(others[: len(texts) - 1]))
