"""How well models read: counts per data set under a named protocol, each image accounted for."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crnn.checkpoint import Bundle
from crnn.lexicon import LexiconError
from crnn.metrics import PROTOCOLS, Counts, Protocol
from crnn.precision import Precision
from pipeline.errors import ConfigError
from pipeline.lexicons import asked_charset, asked_lexicon, read_words
from pipeline.manifest import Manifest
from pipeline.mlflow_run import resolve_tracking_uri
from pipeline.model_source import ModelSource
from pipeline.protocols import FILTERS, Filter
from pipeline.readings import ReadingPlan, read_all, shard_tasks
from pipeline.registry import ResolvedModel, resolve_model
from pipeline.storage import absolute

EMPTY_TRUTH = "empty_truth"
FILTERED = "filtered"
_RESAMPLES = 10_000
_NORMAL = 1.959964  # standard deviations of the normal distribution's middle 95 %


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
    """Without a lexicon."""
    lexicons: Mapping[str, Counts]
    """With each lexicon that the set has or that was given; of the images that have it. Those that could not
    be read, or whose own lexicon holds no entry that can be asked, count as read wrong."""
    dropped: Mapping[str, Mapping[str, int]]
    """Entries of the images' own lexicons that were left out or altered, by lexicon and reason."""
    interval: tuple[float, float]
    """95 % interval of the word accuracy without a lexicon; see `accuracy_interval`."""
    images_per_second: float
    """Of one reader, decoding and reading together, lexicons left out."""
    readings: pa.Table
    """READING_SCHEMA and `truth`, `read` (both normalised) and `counts` (whether the image counts)."""

    @property
    def counted(self) -> pa.Table:
        """The readings of the images that count."""
        return self.readings.filter(self.readings["counts"])


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationReport:
    """An evaluation of one model."""

    model: ResolvedModel
    protocol: Protocol
    filter: Filter
    sets: tuple[SetReport, ...] = field(default_factory=tuple)
    dropped: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Entries of each lexicon for all images that were left out or altered, by reason."""
    language: bool = True
    """Whether it read with its language model, where it has one."""

    @property
    def counts(self) -> Counts:
        """Over all sets, without a lexicon."""
        return sum((part.counts for part in self.sets), Counts())


def evaluate(
    model: str,
    datasets: Mapping[str, str],
    protocol: str = "alnum36",
    *,
    filter_name: str = "all",
    lexicons: Mapping[str, str] | None = None,
    tracking_uri: str | None = None,
    gpu: bool = False,
    precision: Precision = "fp32",
    language: bool = True,
) -> EvaluationReport:
    """Reads data sets with one model and counts; see `evaluate_models`."""
    (report,) = evaluate_models(
        [model],
        datasets,
        protocol,
        filter_name=filter_name,
        lexicons=lexicons,
        tracking_uri=tracking_uri,
        gpu=gpu,
        precision=precision,
        language=language,
    )
    return report


def evaluate_models(
    models: Sequence[str],
    datasets: Mapping[str, str],
    protocol: str = "alnum36",
    *,
    filter_name: str = "all",
    lexicons: Mapping[str, str] | None = None,
    tracking_uri: str | None = None,
    gpu: bool = False,
    precision: Precision = "fp32",
    language: bool = True,
    told: Callable[[int], None] | None = None,
) -> list[EvaluationReport]:
    """Reads data sets with several models in one pass over the data; Ray must be connected.

    Args:
        models: models:/name@alias, models:/name/version, s3://… or folders.
        datasets: URIs of data sets by the names that reports give them.
        protocol: A name of `crnn.metrics.PROTOCOLS`.
        filter_name: A name of `pipeline.protocols.FILTERS`.
        lexicons: URIs of lists of the words that images may hold, by name; sets may have their own besides.
        tracking_uri: Of MLflow, for models:/ URIs.
        gpu: Give each reader a GPU.
        precision: Of the networks; fp32 unless speed matters more than the last word.
        language: Whether models read with their language models, where they have one.
        told: Is told how many images are read, by all models together, each time there are more.

    Returns:
        One report a model, in their order.

    Raises:
        ConfigError: No data set, or an unknown protocol or filter.
        ModelNotFoundError, BundleError, DataError, StorageError: A model or data can't be used.
    """
    if protocol not in PROTOCOLS or filter_name not in FILTERS:
        raise ConfigError(
            f"Protocols are {', '.join(PROTOCOLS)} and filters {', '.join(FILTERS)}; "
            f"{protocol!r} with {filter_name!r} was asked for."
        )
    if not datasets:
        raise ConfigError("Nothing to evaluate on: name at least one data set.")
    # Readers have another working folder.
    datasets = {name: absolute(uri) for name, uri in datasets.items()}
    lexicons = {name: absolute(uri) for name, uri in (lexicons or {}).items()}
    tracking_uri = resolve_tracking_uri(tracking_uri)
    resolved = [resolve_model(model, tracking_uri) for model in models]
    dropped = {
        name: _dropped(uri, PROTOCOLS[protocol], resolved[0].directory) for name, uri in lexicons.items()
    }
    for name, uri in datasets.items():
        if both := sorted(Manifest.read(uri).config.get("lexicons", {}).keys() & lexicons.keys()):
            raise ConfigError(
                f"--lexicon {', '.join(both)}: images of {name} have their own of that name. Take another."
            )
    sources = [
        ModelSource.of(model, found, tracking_uri) for model, found in zip(models, resolved, strict=True)
    ]
    plan = ReadingPlan(
        models=tuple(sources),
        tasks=shard_tasks(datasets),
        protocol=protocol,
        lexicons=lexicons,
        gpu=gpu,
        precision=precision,
        language=language,
    )
    readings = read_all(plan, told)
    fingerprints = {name: Manifest.read(uri).fingerprint for name, uri in datasets.items()}

    def part(model: int, name: str) -> SetReport:
        mine = pc.and_(pc.equal(readings["model"], model), pc.equal(readings["dataset"], name))
        return score(
            name,
            datasets[name],
            readings.filter(mine),
            fingerprint=fingerprints[name],
            protocol=PROTOCOLS[protocol],
            chosen=FILTERS[filter_name],
        )

    return [
        EvaluationReport(
            model=model,
            protocol=PROTOCOLS[protocol],
            filter=FILTERS[filter_name],
            sets=tuple(part(i, name) for name in datasets),
            dropped=dropped,
            language=language,
        )
        for i, model in enumerate(resolved)
    ]


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
    reasons = zip(readings["reason"].to_pylist(), counted, strict=True)
    counts = Counts.over((t, r) for t, r, counts in zip(truths, reads, counted, strict=True) if counts)
    seconds = sum(readings["seconds"].to_pylist())
    columns = {
        "truth": pa.array(truths, pa.string()),
        "read": pa.array(reads, pa.string()),
        "counts": pa.array(counted, pa.bool_()),
    }
    for column, values in columns.items():
        readings = readings.append_column(column, values)
    return SetReport(
        name=name,
        uri=uri,
        fingerprint=fingerprint,
        images=counts.words,
        excluded=dict(Counter(reason for reason in excluded if reason)),
        rejected=dict(Counter(reason for reason, counts in reasons if reason and counts)),
        counts=counts,
        lexicons=_lexicon_counts(readings.filter(readings["counts"])),
        dropped=_dropped_of_own(readings["lexicon_notes"].to_pylist()),
        interval=accuracy_interval(counts),
        images_per_second=readings.num_rows / seconds if seconds else 0.0,
        readings=readings,
    )


def _dropped(uri: str, protocol: Protocol, bundle: Path) -> Mapping[str, int]:
    charset = asked_charset(protocol, Bundle.load(bundle).charset)
    try:
        return asked_lexicon(read_words(uri), protocol, charset)[1]
    except LexiconError as error:
        raise ConfigError(
            f"The lexicon {uri} is of no use under protocol {protocol.name}: {error}"
        ) from error


def _lexicon_counts(counted: pa.Table) -> dict[str, Counts]:
    found: dict[str, Counts] = {}
    pairs = zip(counted["truth"].to_pylist(), counted["lexicon_predictions"].to_pylist(), strict=True)
    for truth, predictions in pairs:
        for lexicon, prediction in predictions or ():
            found[lexicon] = found.get(lexicon, Counts()) + Counts.of(truth, prediction)
    return found


def _dropped_of_own(notes: list[list[dict[str, Any]] | None]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for note in chain.from_iterable(some or () for some in notes):
        found.setdefault(note["lexicon"], Counter())[note["reason"]] += note["entries"]
    return found


def accuracy_interval(counts: Counts, seed: int = 0) -> tuple[float, float]:
    """Bootstrap 95 % interval of the word accuracy: percentiles over 10,000 resamples of the words.

    Resampling words that are right or wrong is drawing from a binomial distribution: no words are needed.
    Where all words are right, or none is, every resample is the same and says nothing: there it is Wilson's
    interval (1927).
    """
    if not counts.words:
        return (0.0, 1.0)
    if counts.correct in (0, counts.words):
        beyond = _NORMAL**2 / (counts.words + _NORMAL**2)
        return (0.0, beyond) if not counts.correct else (1.0 - beyond, 1.0)
    drawn = np.random.default_rng(seed).binomial(counts.words, counts.word_accuracy, _RESAMPLES)
    low, high = np.percentile(drawn / counts.words, [2.5, 97.5])
    return float(low), float(high)
