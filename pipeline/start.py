"""What a training run's weights begin with, where it isn't chance."""

from dataclasses import dataclass

import torch

from crnn.adoption import Adoption, adopt
from crnn.checkpoint import Bundle
from crnn.model import seeded
from pipeline.registry import resolve_model
from pipeline.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """A recogniser whose weights a run takes up."""

    uri: str
    """Pinned: of the version, not of an alias."""
    digest: str
    """The bundle's fingerprint."""
    adoption: Adoption
    """What came of it."""
    weights: dict[str, torch.Tensor]
    """Of the run's network before its first step."""


def find_start(config: TrainConfig) -> Start | None:
    """The start that a config asks for, None where the weights begin at random.

    Raises:
        RegistryError, BundleError: There is no such model.
        ModelConfigError: It has other layers.
    """
    if config.start_from is None:
        return None
    model = resolve_model(config.start_from, config.tracking)
    rules = config.rules
    network = seeded(rules.network, rules.charset.num_classes, config.seed)
    adoption = adopt(network, rules.charset, Bundle.load(model.directory))
    return Start(uri=model.uri, digest=model.digest, adoption=adoption, weights=network.state_dict())
