"""Reading with a language model: beam search decides where the best path is unsure.

Shallow fusion (Gülçehre et al. 2015, arXiv 1503.03535): texts are ranked by
log p(text | image) + weight · log p_lm(text) + length_bonus · length. A path that is sure stands as it is, so
that most words cost nothing, and codes that no language knows are read as they stand there.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf, isfinite, log
from typing import Any

from torch import Tensor

from crnn.beam import Prior, prefix_beam_search
from crnn.charset import BLANK, Charset
from crnn.decode import Hypothesis
from crnn.errors import ModelConfigError
from crnn.language_model import CharacterModel
from crnn.scores import ScoreTable

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

    def __post_init__(self) -> None:
        sound = isinstance(self.beam_width, int) and 1 <= self.beam_width <= MAX_BEAM
        sound = sound and 0 <= self.sure <= 1 and 0 <= self.looks_below <= 1
        if not (sound and isfinite(self.length_bonus) and 0 <= self.weight < inf):
            raise ModelConfigError(
                f"weight is 0 or more, length_bonus a number, beam_width 1 to {MAX_BEAM}, sure and "
                f"looks_below from 0 to 1: {self}."
            )

    def to_dict(self) -> dict[str, Any]:
        """For the bundle."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fusion:
    """A language model and how much it has to say."""

    model: CharacterModel
    config: FusionConfig = field(default_factory=FusionConfig)
    _scores: ScoreTable = field(init=False, repr=False, compare=False)
    """The model's answers so far."""

    def __post_init__(self) -> None:
        self._begin_scores()

    def _begin_scores(self) -> None:
        object.__setattr__(self, "_scores", ScoreTable(self.model, self.model.charset.num_classes))

    def is_unsure(self, hypothesis: Hypothesis) -> bool:
        """Whether a best path leaves room for doubt."""
        return hypothesis.confidence < self.config.sure

    def search(
        self, items: Sequence[Tensor] | Tensor, charset: Charset, *, n_best: int = 1, beam: int = 1
    ) -> list[Hypothesis]:
        """Beam search with the model.

        Args:
            items: float32 [T, V] each, normalised over V, on the CPU.
            charset: Of the recogniser.
            n_best: How many texts to give; those after the first are `alternatives`.
            beam: Prefixes to follow at least.

        Returns:
            confidence is the text's share among all that the beam holds, by their ranks; log_prob is its
            natural logarithm.
        """
        if self._scores.is_full:
            self._begin_scores()
        config = self.config
        found = prefix_beam_search(
            [_without_waiting(item) for item in items],
            charset,
            beam_width=max(config.beam_width, beam),
            n_best=n_best,
            prior=Prior(scores=self._scores, weight=config.weight, length_bonus=config.length_bonus),
        )
        return [_by_share(each, tuple(_by_share(other) for other in each.alternatives)) for each in found]

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


def headed(several: Hypothesis, first: Hypothesis) -> Hypothesis:
    """The texts of a search, but the one that is read when only one is asked for ahead of the others."""
    texts = [replace(several, alternatives=()), *several.alternatives]
    known = next((text for text in texts if text.text == first.text), first)
    others = [text for text in texts if text.text != first.text]
    return replace(known, alternatives=tuple(others[: len(texts) - 1]))


def _by_share(found: Hypothesis, others: tuple[Hypothesis, ...] = ()) -> Hypothesis:
    return Hypothesis(found.text, log(max(found.confidence, _TINY)), found.confidence, alternatives=others)
