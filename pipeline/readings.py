"""What recognisers read from data sets: one row an image and model, made on Ray, shard by shard."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from torch import Tensor

from crnn.batching import plan_packs, stack
from crnn.errors import ImageRejectedError
from crnn.folding import Folding
from crnn.lexicon import Lexicon, LexiconError, decode_with_lexicon
from crnn.metrics import PROTOCOLS, Protocol
from crnn.precision import Precision
from crnn.preprocess import GreyImage
from crnn.recognizer import Recognizer
from pipeline.growth import machines
from pipeline.lexicons import (
    LARGE_LEXICON,
    PAPERS_DISTANCE,
    UNUSABLE,
    asked_charset,
    asked_lexicon,
    read_words,
)
from pipeline.manifest import Manifest, ShardInfo
from pipeline.model_source import ModelSource
from pipeline.shards import read_shard

READING_SCHEMA = pa.schema(
    [
        ("model", pa.int32()),
        ("dataset", pa.string()),
        ("shard", pa.int32()),
        ("row", pa.int32()),
        ("id", pa.string()),
        ("source", pa.string()),
        ("text", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("prediction", pa.string()),
        ("log_prob", pa.float32()),
        ("confidence", pa.float32()),
        ("lexicon_predictions", pa.map_(pa.string(), pa.string())),
        (
            "lexicon_notes",
            pa.list_(pa.struct([("lexicon", pa.string()), ("reason", pa.string()), ("entries", pa.int32())])),
        ),
        ("seconds", pa.float64()),
        ("effects", pa.int64()),
        ("text_height", pa.float32()),
        ("contrast", pa.float32()),
    ]
)
"""model: its place in the plan. shard, row: where the image is in the data set. reason, detail: why it could
not be read; what was read is null there. lexicon_predictions: the entry found, in the protocol's form, by the
name of each lexicon that the image has; empty where the image could not be read or no entry be asked.
lexicon_notes: entries of the image's own lexicons that were left out or altered, by reason. seconds: the
image's share of its reader's time, lexicons left out. effects, text_height, contrast: as in SAMPLE_SCHEMA."""
_DRAWN = ("effects", "text_height", "contrast")

_CHUNK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """One shard of a named data set to read."""

    dataset: str
    uri: str
    index: int
    shard: ShardInfo
    lexicons: Mapping[str, tuple[int, int | None]] = field(default_factory=dict)
    """Names of the images' own lexicons and where each stands in their lexicon column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadingPlan:
    """What is to be read, by which models, and how."""

    models: tuple[ModelSource, ...]
    tasks: tuple[ShardTask, ...]
    protocol: str
    """Name of the protocol in whose form lexicons are asked."""
    lexicons: Mapping[str, str] = field(default_factory=dict)
    """URIs of lexicons for all images, by name; see `pipeline.lexicons`."""
    gpu: bool = False
    precision: Precision = "fp32"
    language: bool = True
    """Whether models read with their language models, where they have one."""


def shard_tasks(datasets: Mapping[str, str]) -> tuple[ShardTask, ...]:
    """All shards of named data sets, in order.

    Raises:
        ManifestError, StorageError: A data set can't be read.
    """
    manifests = {name: Manifest.read(uri) for name, uri in datasets.items()}
    return tuple(
        ShardTask(
            dataset=name,
            uri=datasets[name],
            index=index,
            shard=shard,
            lexicons={key: tuple(ends) for key, ends in manifest.config.get("lexicons", {}).items()},
        )
        for name, manifest in manifests.items()
        for index, shard in enumerate(manifest.shards)
    )


def read_all(plan: ReadingPlan, told: Callable[[int], None] | None = None) -> pa.Table:
    """Carries out a plan on Ray, which must be connected.

    Args:
        plan: What to read.
        told: Is told how many images are read, by all models together, each time there are more.

    Returns:
        A table of READING_SCHEMA, in the tasks' order.
    """
    if not plan.tasks:
        return READING_SCHEMA.empty_table()
    kind, beside = ("GPU", 0) if plan.gpu else ("CPU", 1)
    with machines(kind, len(plan.tasks) + beside) as there:
        return _read(plan, int(there) - beside, told)


def _read(plan: ReadingPlan, places: int, told: Callable[[int], None] | None) -> pa.Table:
    import ray
    from ray.data import ActorPoolStrategy

    from pipeline.pace import paced

    with paced():
        tasks = [{"task": index} for index in range(len(plan.tasks))]
        source = ray.data.from_items(tasks, override_num_blocks=len(tasks))
    source.context.execution_options.preserve_order = True
    graph = source.map_batches(
        ShardReader,
        fn_constructor_args=(plan,),
        compute=ActorPoolStrategy(size=max(1, min(places, len(plan.tasks)))),
        batch_size=1,
        batch_format="pyarrow",
        num_gpus=1 if plan.gpu else 0,
        num_cpus=0 if plan.gpu else 1,
    )
    tables, done = [READING_SCHEMA.empty_table()], 0
    found: Iterable[Any] = graph.iter_batches(batch_size=None, batch_format="pyarrow")
    for table in found:
        tables.append(table.cast(READING_SCHEMA))
        done += table.num_rows
        if told:
            told(done)
    return pa.concat_tables(tables)


class ShardReader:
    """Ray's actor: recognisers that are loaded once and read shard after shard."""

    def __init__(self, plan: ReadingPlan) -> None:
        self._tasks = plan.tasks
        self._readers = [
            Reader(
                Recognizer.load(
                    model.fetch(),
                    device="cuda" if plan.gpu else "cpu",
                    precision=plan.precision,
                    language=plan.language,
                ),
                PROTOCOLS[plan.protocol],
                plan.lexicons,
            )
            for model in plan.models
        ]

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Reads the shards whose numbers stand in column `task`, by every model."""
        for index in batch["task"].to_pylist():
            for model, reader in enumerate(self._readers):
                yield reader.read(self._tasks[index], model)


class Reader:
    """A recogniser with the lexicons that it is asked for.

    Args:
        recognizer: The model.
        protocol: In whose form lexicons are asked: entries that it makes equal are one.
        lexicons: URIs of lexicons for all images, by name.
    """

    def __init__(self, recognizer: Recognizer, protocol: Protocol, lexicons: Mapping[str, str]) -> None:
        self._recognizer, self._protocol = recognizer, protocol
        own = recognizer.bundle.charset
        self._charset = asked_charset(protocol, own)
        self._classes = own if own == self._charset else Folding(own, self._charset, protocol.normalize)
        self._lexicons = {name: self._lexicon(read_words(uri))[0] for name, uri in lexicons.items()}

    def read(self, task: ShardTask, model: int = 0) -> pa.Table:
        """Reads one shard; every row of it becomes a row of READING_SCHEMA."""
        columns = ["id", "image", "text", "width", "height", "source", *_DRAWN]
        table = read_shard(task.uri, task.shard, [*columns, "lexicon"] if task.lexicons else columns)
        rows: list[dict[str, Any]] = []
        for start in range(0, table.num_rows, _CHUNK):
            chunk = table.slice(start, _CHUNK)
            found = self._read_chunk(chunk, task.lexicons)
            place = {"model": model, "dataset": task.dataset, "shard": task.index}
            rows += [place | {"row": start + i} | row for i, row in enumerate(found)]
        return pa.Table.from_pylist(rows, schema=READING_SCHEMA)

    def _read_chunk(self, chunk: pa.Table, own: Mapping[str, tuple[int, int | None]]) -> list[dict[str, Any]]:
        began = time.perf_counter()
        kept = [name for name in chunk.column_names if name not in ("image", "lexicon")]
        rows: list[dict[str, Any]] = chunk.select(kept).to_pylist()
        for row in rows:
            row |= {"lexicon_predictions": dict.fromkeys(self._lexicons, ""), "lexicon_notes": []}
        lines: list[GreyImage] = []
        readable: list[int] = []
        for i, image in enumerate(chunk["image"].to_pylist()):
            try:
                lines.append(self._recognizer.prepare(image).pixels)
            except ImageRejectedError as error:
                rows[i] |= {"reason": error.reason, "detail": error.detail}
            else:
                readable.append(i)
        paused = time.perf_counter()
        lexicons = self._own_lexicons(chunk["lexicon"].to_pylist(), own, rows) if own else {}
        aside = time.perf_counter() - paused
        lines, _ = self._recognizer.settle(lines)
        for members in plan_packs([line.shape[1] for line in lines], self._recognizer.max_columns):
            pack = [lines[i] for i in members]
            log_probs_NTV = self._recognizer.log_probs(stack(pack))
            hypotheses = self._recognizer.texts(pack, log_probs_NTV)
            paused = time.perf_counter()
            numbers = [readable[i] for i in members]
            mine = {name: [each[i] for i in numbers] for name, each in lexicons.items()}
            self._ask(log_probs_NTV, mine, [rows[i]["lexicon_predictions"] for i in numbers])
            aside += time.perf_counter() - paused
            for i, hypothesis in zip(numbers, hypotheses, strict=True):
                rows[i] |= {
                    "prediction": hypothesis.text,
                    "log_prob": hypothesis.log_prob,
                    "confidence": hypothesis.confidence,
                }
        seconds = (time.perf_counter() - began - aside) / max(len(rows), 1)
        return [
            row | {"seconds": seconds, "lexicon_predictions": list(row["lexicon_predictions"].items())}
            for row in rows
        ]

    def _own_lexicons(
        self,
        words: list[list[str] | None],
        own: Mapping[str, tuple[int, int | None]],
        rows: list[dict[str, Any]],
    ) -> dict[str, list[Lexicon | None]]:
        """Each image's lexicons by their names; the rows note which they have, and what can't be asked."""
        found: dict[str, list[Lexicon | None]] = {name: [] for name in own}
        for name, (first, end) in own.items():
            for row, some in zip(rows, words, strict=True):
                lexicon, notes = self._lexicon(some[first:end]) if some and some[first:end] else (None, {})
                found[name].append(lexicon)
                row["lexicon_predictions"] |= {name: ""} if lexicon or notes else {}
                row["lexicon_notes"] += [
                    {"lexicon": name, "reason": reason, "entries": entries}
                    for reason, entries in notes.items()
                ]
        return found

    def _ask(
        self, log_probs_NTV: Tensor, own: Mapping[str, list[Lexicon | None]], found: list[dict[str, str]]
    ) -> None:
        """Notes for each image the entry that it holds by each lexicon's name."""
        for name, lexicons in own.items():
            usable = [i for i, lexicon in enumerate(lexicons) if lexicon is not None]
            chosen = [lexicon for lexicon in lexicons if lexicon is not None]
            read = decode_with_lexicon(log_probs_NTV[usable], self._classes, chosen)
            for i, hypothesis in zip(usable, read, strict=True):
                found[i][name] = hypothesis.text
        for name, lexicon in self._lexicons.items():
            if lexicon is None:
                continue
            distance = PAPERS_DISTANCE if len(lexicon) > LARGE_LEXICON else None
            read = decode_with_lexicon(log_probs_NTV, self._classes, lexicon, max_distance=distance)
            for entries, hypothesis in zip(found, read, strict=True):
                entries[name] = hypothesis.text

    def _lexicon(self, words: Sequence[str]) -> tuple[Lexicon | None, Mapping[str, int]]:
        try:
            return asked_lexicon(words, self._protocol, self._charset)
        except LexiconError:
            return None, {UNUSABLE: 1}
