"""How well a model reads: counts per data set under a named protocol, each image accounted for."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from crnn.metrics import PROTOCOLS, Counts, Protocol
from crnn.recognizer import Precision
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.mlflow_run import resolve_tracking_uri
from pipeline.protocols import FILTERS, Filter
from pipeline.readings import ModelSource, read_all, shard_tasks
from pipeline.registry import ResolvedModel, resolve_model

EMPTY_TRUTH = "empty_truth"
FILTERED = "filtered"
_RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SetReport:
    """One data set's part of an evaluation."""

    name: str
    uri: str
    fingerprint: str
    images: int
    """Images that count; `images` + all of `excluded` is what was read."""
    excluded: Mapping[str, int]
    """Images that don't count, by reason: filtered, or nothing left of the truth under the protocol."""
    rejected: Mapping[str, int]
    """Images that could not be read, by reason; they count, as read wrong."""
    counts: Counts
    interval: tuple[float, float]
    """Bootstrap 95 % interval of the word accuracy."""
    images_per_second: float
    """Of one reader, decoding and reading together."""
    readings: pa.Table
    """READING_SCHEMA and `truth`, `read` (both normalised) and `counts` (whether the image counts)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """An evaluation of one model."""

    model: ResolvedModel
    protocol: Protocol
    filter: Filter
    sets: tuple[SetReport, ...] = field(default_factory=tuple)

    @property
    def counts(self) -> Counts:
        """Over all sets."""
        return sum((part.counts for part in self.sets), Counts())


def evaluate(
    model: str,
    datasets: Mapping[str, str],
    protocol: str = "alnum36",
    *,
    filter_name: str = "all",
    tracking_uri: str | None = None,
    gpu: bool = False,
    precision: Precision = "fp32",
) -> EvaluationReport:
    """Reads data sets with a model and counts; Ray must be connected.

    Args:
        model: models:/name@alias, models:/name/version, s3://… or a folder.
        datasets: URIs of data sets by the names that reports give them.
        protocol: A name of `crnn.metrics.PROTOCOLS`.
        filter_name: A name of `pipeline.protocols.FILTERS`.
        tracking_uri: Of MLflow, for models:/ URIs.

    Raises:
        ConfigError: No data set, or an unknown protocol or filter.
        ModelNotFoundError, BundleError, DataError, StorageError: The model or data can't be used.
    """
    if protocol not in PROTOCOLS or filter_name not in FILTERS:
        raise ConfigError(
            f"Protocols are {', '.join(PROTOCOLS)} and filters {', '.join(FILTERS)}; "
            f"{protocol!r} with {filter_name!r} was asked for."
        )
    if not datasets:
        raise ConfigError("Nothing to evaluate on: name at least one data set.")
    tracking_uri = resolve_tracking_uri(tracking_uri)
    resolved = resolve_model(model, tracking_uri)
    source = ModelSource(uri=model if model.startswith("s3://") else resolved.uri, tracking_uri=tracking_uri)
    manifests = {name: Manifest.read(uri) for name, uri in datasets.items()}
    readings = read_all(source, shard_tasks(datasets), gpu=gpu, precision=precision)
    names = np.array(readings["dataset"].to_pylist(), dtype=object)
    sets = tuple(
        score(
            name,
            uri,
            readings.filter(pa.array(names == name, pa.bool_())),
            fingerprint=manifests[name].fingerprint,
            protocol=PROTOCOLS[protocol],
            chosen=FILTERS[filter_name],
        )
        for name, uri in datasets.items()
    )
    return EvaluationReport(
        model=resolved, protocol=PROTOCOLS[protocol], filter=FILTERS[filter_name], sets=sets
    )


def score(
    name: str, uri: str, readings: pa.Table, *, fingerprint: str, protocol: Protocol, chosen: Filter
) -> SetReport:
    """Counts a data set's readings; an image that could not be read counts as an empty prediction."""
    texts = readings["text"].to_pylist()
    truths = [protocol.normalize(text) for text in texts]
    reads = [protocol.normalize(text or "") for text in readings["prediction"].to_pylist()]
    excluded = [
        FILTERED if not chosen.keeps(text) else EMPTY_TRUTH if not truth else None
        for text, truth in zip(texts, truths, strict=True)
    ]
    counted = [reason is None for reason in excluded]
    counts = Counts.over(
        (truth, read) for truth, read, counts in zip(truths, reads, counted, strict=True) if counts
    )
    seconds = sum(readings["seconds"].to_pylist())
    return SetReport(
        name=name,
        uri=uri,
        fingerprint=fingerprint,
        images=counts.words,
        excluded=dict(Counter(reason for reason in excluded if reason)),
        rejected=dict(
            Counter(
                reason
                for reason, counts in zip(readings["reason"].to_pylist(), counted, strict=True)
                if reason and counts
            )
        ),
        counts=counts,
        interval=accuracy_interval(counts),
        images_per_second=readings.num_rows / seconds if seconds else 0.0,
        readings=readings.append_column("truth", pa.array(truths, pa.string()))
        .append_column("read", pa.array(reads, pa.string()))
        .append_column("counts", pa.array(counted, pa.bool_())),
    )


def accuracy_interval(counts: Counts, seed: int = 0) -> tuple[float, float]:
    """Bootstrap 95 % interval of the word accuracy: percentiles over 10,000 resamples of the words.

    Resampling words that are right or wrong is drawing from a binomial distribution: no words are needed.
    """
    if not counts.words:
        return (0.0, 1.0)
    drawn = np.random.default_rng(seed).binomial(counts.words, counts.word_accuracy, _RESAMPLES)
    low, high = np.percentile(drawn / counts.words, [2.5, 97.5])
    return float(low), float(high)
