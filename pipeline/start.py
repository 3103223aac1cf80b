"""What a training run's weights begin with, where it isn't chance."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from crnn.adoption import Adoption, adopt
from crnn.checkpoint import Bundle
from crnn.fusion import Fusion
from crnn.model import seeded
from crnn.preprocess import PreprocessConfig
from pipeline.registry import resolve_model
from pipeline.runs import begun_with
from pipeline.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A recogniser whose weights a run takes up."""

    uri: str
    """Pinned: of the version, not of an alias."""
    asked: str
    """As the config has it."""
    digest: str
    """The bundle's fingerprint."""
    adoption: Adoption
    """What came of it."""
    weights: dict[str, torch.Tensor]
    """Of the run's network before its first step."""
    images_seen: int
    """By these weights so far, over all runs that they went through."""
    language: Fusion | None
    """The language model that it reads with, and that the run's bundles will: None where it has none, or
    another charset."""
    language_lost: bool = False
    """It has a language model of another charset."""
    otherwise: str = ""
    """How it is used to images that are prepared otherwise, as flags; empty where it isn't."""

    @property
    def told(self) -> str:
        """What a run begins with, in a line."""
        lost = "; its language model, of another charset, is left behind" if self.language_lost else ""
        used = f"; it is used to images as by {self.otherwise}" if self.otherwise else ""
        return f"{self.uri}: {self.adoption}{lost}{used}"

    def as_dict(self) -> dict[str, Any]:
        """For the provenance of the bundles that come of it."""
        return {"uri": self.uri, "fingerprint": self.digest, "images_seen": self.images_seen}

    @property
    def identity(self) -> dict[str, str | None]:
        """For the run's; what is likeliest to differ comes first."""
        version = self.uri if self.uri.startswith("models:") else None
        return {"fingerprint": self.digest, "asked": self.asked, "version": version}


def find_start(config: TrainConfig) -> Start | None:
    """The start that a config asks for, None where the weights begin at random. A run that goes on has the
    one that it began with.

    Raises:
        RegistryError, BundleError: There is no such model.
        ModelConfigError: It has other layers.
    """
    if config.start_from is None:
        return None
    model = resolve_model(begun_with(config.run_uri, config.start_from), config.tracking)
    rules = config.rules
    network = seeded(rules.network, rules.charset.num_classes, config.seed)
    bundle = Bundle.load(model.directory)
    return Start(
        uri=model.uri,
        asked=config.start_from,
        digest=model.digest,
        adoption=adopt(network, rules.charset, bundle),
        weights=network.state_dict(),
        images_seen=images_in_all(bundle.provenance),
        language=bundle.language if bundle.charset == rules.charset else None,
        language_lost=bundle.language is not None and bundle.charset != rules.charset,
        otherwise=" ".join(_otherwise(bundle.preprocess, config.preprocess)),
    )


def _otherwise(used_to: PreprocessConfig, wanted: PreprocessConfig) -> Iterator[str]:
    for name, value in asdict(used_to).items():
        if value != getattr(wanted, name):
            yield f"--preprocess.{name.replace('_', '-')} {value}"


def images_in_all(provenance: Mapping[str, Any]) -> int:
    """Images that a bundle's weights have seen, in the run that made it and in those before."""
    before = provenance.get("started_from", {}).get("images_seen", 0)
    return int(provenance.get("images_seen", 0)) + int(before)
