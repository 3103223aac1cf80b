"""The bundle: all that a recogniser needs, in a folder of files that execute nothing when loaded.

    bundle.json            schema, network, charset, preparation, calibration, where it comes from, checksums
    weights.safetensors    the parameters and batch-norm statistics
    language.safetensors   the language model that it reads with, and its vocabulary, where it has them

What training resumes from (optimiser, schedule, data position) is kept apart, by the training job.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors
import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor

from crnn import vocabulary
from crnn.charset import Charset
from crnn.errors import BundleError, CRNNError
from crnn.fusion import Fusion, FusionConfig
from crnn.language_model import CharacterModel
from crnn.model import CRNN, ConvConfig, CRNNConfig
from crnn.preprocess import PreprocessConfig
from crnn.vocabulary import Vocabulary

SCHEMA_VERSION, WITH_VOCABULARY, LATEST = SCHEMAS = 2, 3, 4
"""Of bundles without a vocabulary, as releases before vocabularies wrote and read them; with one; and with
confidences for what the network reads alone, or a charset that drops what it can't write."""
DESCRIPTION = "bundle.json"
WEIGHTS = "weights.safetensors"
LANGUAGE = "language.safetensors"


@dataclass(frozen=True, kw_only=True, slots=True)
class Bundle:
    """A recogniser on disk or about to be.

    Raises:
        BundleError: The parts contradict each other.
    """

    network: CRNNConfig
    charset: Charset
    preprocess: PreprocessConfig
    weights: Mapping[str, Tensor]
    calibration: Mapping[str, float] = field(default_factory=dict)
    """Parameters of `crnn.calibration`; empty means that confidence is the path's own probability."""
    calibration_alone: Mapping[str, float] = field(default_factory=dict)
    """The same for what is read without the language model, if there is one; empty takes the others."""
    language: Fusion | None = None
    """The language model that it reads with; None reads what the network sees alone."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Recipe, seed, data fingerprint, git revision, images seen: for people, not part of the fingerprint."""

    def __post_init__(self) -> None:
        if self.network.height != self.preprocess.height:
            raise BundleError(
                f"The network reads height {self.network.height}, the preprocessing makes height "
                f"{self.preprocess.height}; they must be equal."
            )
        if self.language is not None and self.language.model.charset != self.charset:
            raise BundleError("The language model writes another charset than the network.")
        if self.calibration_alone and self.language is None:
            raise BundleError("Without a language model there is one way to read, and one calibration.")

    @property
    def reading(self) -> PreprocessConfig:
        """How images are prepared for reading. Likelihoods of texts of several lengths don't compare: until
        they are calibrated no image is read turned, and a fresh bundle reads as it did in training."""
        return self.preprocess if self.calibration else replace(self.preprocess, turn=0)

    def alone(self) -> "Bundle":
        """What reads as this does without its language model, with the confidences for that where there are
        some."""
        calibration = self.calibration_alone or self.calibration
        return replace(self, language=None, calibration=calibration, calibration_alone={})

    def model(self) -> CRNN:
        """The network with these weights, in evaluation mode, fp32, on the CPU.

        Raises:
            BundleError: The weights aren't those of this network and charset; the differences are named.
        """
        model = CRNN(self.network, self.charset.num_classes)
        expected = {name: tuple(t.shape) for name, t in model.state_dict().items()}
        found = {name: tuple(t.shape) for name, t in self.weights.items()}
        if expected != found:
            names = sorted(n for n in expected.keys() | found.keys() if expected.get(n) != found.get(n))
            listed = ", ".join(f"{n}: {found.get(n)} for {expected.get(n)}" for n in names[:4])
            raise BundleError(
                f"{len(names)} weights don't fit a network with {self.charset.num_classes} classes "
                f"({listed}); the bundle was put together from different models."
            )
        model.load_state_dict(dict(self.weights))
        return model.eval()

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with anything that can change a text: weights, charset, preparation."""
        return _fingerprint(self._description(), safetensors.torch.save(_plain(self.weights)))

    def save(self, directory: Path | str) -> None:
        """Writes the files, the description last: a folder without one is no bundle."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        weights = safetensors.torch.save(_plain(self.weights))
        description = self._description() | {
            "provenance": dict(self.provenance),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "fingerprint": _fingerprint(self._description(), weights),
        }
        (directory / WEIGHTS).write_bytes(weights)
        (directory / LANGUAGE).unlink(missing_ok=True)
        if self.language is not None:
            (directory / LANGUAGE).write_bytes(_language_bytes(self.language))
        partial = directory / (DESCRIPTION + ".partial")
        partial.write_text(json.dumps(description, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(directory / DESCRIPTION)

    @classmethod
    def load(cls, directory: Path | str) -> "Bundle":
        """Reads and verifies a bundle.

        Raises:
            BundleError: No bundle there, another schema version, or damage; what to do is said.
        """
        directory = Path(directory)
        try:
            text = (directory / DESCRIPTION).read_bytes()
            weights = (directory / WEIGHTS).read_bytes()
        except OSError as error:
            raise BundleError(
                f"{directory} is no bundle ({error}); it needs {DESCRIPTION} and {WEIGHTS}."
            ) from error
        try:
            description = json.loads(text)
            version = description["schema_version"]
        except (ValueError, KeyError, TypeError) as error:
            raise BundleError(
                f"{directory / DESCRIPTION} is damaged ({error!r}); fetch the bundle again."
            ) from error
        if version not in SCHEMAS:
            raise BundleError(
                f"{directory} has bundle schema {version}; this release reads {SCHEMAS[0]} to {SCHEMAS[-1]}. "
                "Use the release that wrote it, or train again."
            )
        try:
            if hashlib.sha256(weights).hexdigest() != description["weights_sha256"]:
                raise BundleError(
                    f"{directory / WEIGHTS} doesn't match its checksum; fetch the bundle again."
                )
            charset = Charset(**description["charset"])
            bundle = cls(
                network=_network(description["network"]),
                charset=charset,
                language=_language(directory, description.get("language"), charset),
                preprocess=PreprocessConfig.from_dict(description["preprocess"]),
                calibration=description["calibration"],
                calibration_alone=description.get("calibration_alone", {}),
                provenance=description["provenance"],
                weights=safetensors.torch.load(weights),
            )
            if _fingerprint(bundle._description(), weights) != description["fingerprint"]:
                raise BundleError(
                    f"{directory / DESCRIPTION} was changed after it was written; fetch it again."
                )
        except BundleError:
            raise
        except (KeyError, TypeError, ValueError, CRNNError, safetensors.SafetensorError) as error:
            raise BundleError(f"{directory} is damaged ({error!r}); fetch the bundle again.") from error
        return bundle

    def _description(self) -> dict[str, Any]:
        worded = self.language is not None and self.language.vocabulary is not None
        version = WITH_VOCABULARY if worded else SCHEMA_VERSION
        described: dict[str, Any] = {
            "schema_version": LATEST if self.calibration_alone or self.charset.drop_others else version,
            "network": self.network.to_dict(),
            "charset": self.charset.to_dict(),
            "preprocess": self.preprocess.to_dict(),
            "calibration": dict(self.calibration),
        }
        if self.calibration_alone:
            described["calibration_alone"] = dict(self.calibration_alone)
        if self.language is not None:
            checksum = hashlib.sha256(_language_bytes(self.language)).hexdigest()
            described["language"] = self.language.config.to_dict() | {"sha256": checksum}
        return described


def _language_bytes(language: Fusion) -> bytes:
    words = language.vocabulary.to_arrays() if language.vocabulary else {}
    return safetensors.numpy.save(language.model.to_arrays() | words)


def _language(directory: Path, values: Mapping[str, Any] | None, charset: Charset) -> Fusion | None:
    if values is None:
        return None
    if not isinstance(values, dict) or "sha256" not in values:
        raise BundleError(f"{directory / DESCRIPTION} is damaged (language); fetch the bundle again.")
    config = {name: value for name, value in values.items() if name != "sha256"}
    try:
        data = (directory / LANGUAGE).read_bytes()
    except OSError as error:
        raise BundleError(f"{directory} lacks {LANGUAGE} ({error}); fetch the bundle again.") from error
    if hashlib.sha256(data).hexdigest() != values["sha256"]:
        raise BundleError(f"{directory / LANGUAGE} doesn't match its checksum; fetch the bundle again.")
    arrays = safetensors.numpy.load(data)
    words = {name: arrays.pop(name) for name in vocabulary.NAMES if name in arrays}
    return Fusion(
        model=CharacterModel.from_arrays(arrays, charset),
        vocabulary=Vocabulary.from_arrays(words, charset) if words else None,
        config=FusionConfig(**config),
    )


def _plain(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Sorted, contiguous and on the CPU, so that equal weights are equal bytes."""
    return {name: weights[name].detach().to("cpu").contiguous() for name in sorted(weights)}


def _fingerprint(description: Mapping[str, Any], weights: bytes) -> str:
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    digest.update(hashlib.sha256(weights).digest())
    return digest.hexdigest()[:16]


def _network(values: Mapping[str, Any]) -> CRNNConfig:
    pairs = ("kernel", "padding", "pool")
    convolutions = tuple(
        ConvConfig(**dict(conv) | {name: tuple(conv[name]) for name in pairs})
        for conv in values["convolutions"]
    )
    return CRNNConfig(**(dict(values) | {"convolutions": convolutions}))


def averaged_weights(model: torch.nn.Module, shadow: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The model's state with the tensors that `shadow` holds (an average over training) in their place."""
    return {name: shadow.get(name, tensor) for name, tensor in model.state_dict().items()}
