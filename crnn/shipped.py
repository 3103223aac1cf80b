"""The recognisers that come with the package, known by name: `Recognizer.load("latin94")`.

crnn/models/NAME/bundle.json, weights.safetensors, language.safetensors, README.md (the model card)
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import entry_points
from pathlib import Path

import torch
from torch import Tensor

from crnn.checkpoint import DESCRIPTION, Bundle
from crnn.errors import BundleError

MODELS = Path(__file__).with_name("models")
"""Folder with a bundle's folder for each."""
RESOLVERS = "crnn.bundle_resolvers"
"""Entry-point group through which other packages teach `fetched_folder` the URI schemes they know."""
DEFAULT = "latin94"
"""What reads where nobody names a model."""


def shipped_models() -> dict[str, Path]:
    """The bundles that come with the package, by name."""
    return {path.parent.name: path.parent for path in sorted(MODELS.glob(f"*/{DESCRIPTION}"))}


def bundle_folder(source: str | Path) -> Path:
    """The folder that a model's name or path means: a shipped model's name comes before a folder's.

    Args:
        source: Such as latin94-small, or ./latin94-small for a folder that happens to be called the same.
    """
    return shipped_models().get(source, Path(source)) if isinstance(source, str) else source


def fetched_folder(source: str | Path) -> Path:
    """As `bundle_folder`; also of a URI, once the package that knows its scheme has brought it here.

    Raises:
        BundleError: No package knows it.
    """
    if not isinstance(source, str) or ":/" not in source:
        return bundle_folder(source)
    scheme = source.split(":", 1)[0]
    for entry_point in entry_points(group=RESOLVERS, name=scheme):
        return Path(entry_point.load()(source))
    known = sorted({e.name for e in entry_points(group=RESOLVERS)})
    raise BundleError(
        f"Nothing installed here knows how to fetch {source}: the schemes known are {known or 'none'}. "
        "Install the project (pip install -e .), or give a folder."
    )


def halved(bundle: Bundle) -> Bundle:
    """The bundle with its matrices in half precision, at half the bytes; it computes in fp32 as before.

    Vectors (biases, batch-norm statistics) stay as they are: they are few, and variances may be tiny.
    """
    return replace(bundle, weights=_halved(bundle.weights))


def _halved(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {
        name: tensor.to(torch.float16) if tensor.ndim > 1 and tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
