"""What a recogniser reads from a data set: one row an image, made on Ray, shard by shard."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from crnn.batching import plan_packs, stack
from crnn.decode import Hypothesis, best_path
from crnn.errors import ImageRejectedError
from crnn.preprocess import GreyImage
from crnn.recognizer import Precision, Recognizer
from pipeline.manifest import Manifest, ShardInfo
from pipeline.registry import resolve_model
from pipeline.shards import read_shard

READING_SCHEMA = pa.schema(
    [
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
        ("seconds", pa.float64()),
    ]
)
"""shard, row: where the image is in the data set. reason, detail: why it could not be read; prediction,
log_prob and confidence are null there. seconds: the image's share of its reader's time."""

_CHUNK = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """Where every node finds the same bundle."""

    uri: str
    """A pinned models:/ URI, s3://… or a folder that every node sees."""
    tracking_uri: str | None = None
    """Of MLflow, absolute: a reader's working folder isn't the job's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """One shard of a named data set to read."""

    dataset: str
    uri: str
    index: int
    shard: ShardInfo


def shard_tasks(datasets: Mapping[str, str]) -> list[ShardTask]:
    """All shards of named data sets, in order.

    Raises:
        ManifestError, StorageError: A data set can't be read.
    """
    return [
        ShardTask(dataset=name, uri=uri, index=index, shard=shard)
        for name, uri in datasets.items()
        for index, shard in enumerate(Manifest.read(uri).shards)
    ]


def read_all(
    model: ModelSource,
    tasks: Sequence[ShardTask],
    *,
    gpu: bool = False,
    precision: Precision = "fp32",
    readers: int | None = None,
) -> pa.Table:
    """Reads all shards on Ray, which must be connected; a table of READING_SCHEMA in the tasks' order.

    Args:
        gpu: Give each reader a GPU.
        precision: Of the network; fp32 unless speed matters more than the last word.
        readers: How many readers at most; None is one a CPU (GPU) of the cluster, no more than shards.
    """
    import ray
    from ray.data import ActorPoolStrategy

    if not tasks:
        return READING_SCHEMA.empty_table()
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    available = resources.get("GPU" if gpu else "CPU", 1)
    size = max(1, min(int(available) - (not gpu), len(tasks), readers or len(tasks)))
    source = ray.data.from_items([{"task": i} for i in range(len(tasks))], override_num_blocks=len(tasks))
    source.context.execution_options.preserve_order = True
    graph = source.map_batches(
        ShardReader,
        fn_constructor_args=(model, tuple(tasks), "cuda" if gpu else "cpu", precision),
        compute=ActorPoolStrategy(size=size),
        batch_size=1,
        batch_format="pyarrow",
        num_gpus=1 if gpu else 0,
        num_cpus=0 if gpu else 1,
    )
    tables = [table for table in ray.get(graph.to_arrow_refs()) if table.num_rows]
    return pa.concat_tables(tables).cast(READING_SCHEMA) if tables else READING_SCHEMA.empty_table()


class ShardReader:
    """Ray's actor: a recogniser that is loaded once and reads shard after shard."""

    def __init__(
        self, model: ModelSource, tasks: tuple[ShardTask, ...], device: str, precision: Precision
    ) -> None:
        directory = resolve_model(model.uri, model.tracking_uri).directory
        self._recognizer = Recognizer.load(directory, device=device, precision=precision)
        self._tasks = tasks

    def __call__(self, batch: pa.Table) -> Iterator[pa.Table]:
        """Reads the shards whose numbers stand in column `task`."""
        for index in batch["task"].to_pylist():
            yield read_one(self._recognizer, self._tasks[index])


def read_one(recognizer: Recognizer, task: ShardTask) -> pa.Table:
    """Reads one shard; every row of it becomes a row of READING_SCHEMA."""
    table = read_shard(task.uri, task.shard, columns=["id", "image", "text", "width", "height", "source"])
    rows: list[dict[str, Any]] = []
    for start in range(0, table.num_rows, _CHUNK):
        rows += _read_chunk(recognizer, task, start, table.slice(start, _CHUNK))
    return pa.Table.from_pylist(rows, schema=READING_SCHEMA)


def _read_chunk(recognizer: Recognizer, task: ShardTask, start: int, chunk: pa.Table) -> list[dict[str, Any]]:
    began = time.perf_counter()
    rows: list[dict[str, Any]] = chunk.drop_columns(["image"]).to_pylist()
    lines: list[GreyImage] = []
    readable: list[int] = []
    for i, image in enumerate(chunk["image"].to_pylist()):
        rows[i] |= {"dataset": task.dataset, "shard": task.index, "row": start + i}
        try:
            lines.append(recognizer.prepare(image).pixels)
        except ImageRejectedError as error:
            rows[i] |= {"reason": error.reason, "detail": error.detail}
        else:
            readable.append(i)
    for members in plan_packs([line.shape[1] for line in lines], recognizer.max_columns):
        log_probs_NTV = recognizer.log_probs(stack(lines[i] for i in members))
        for i, hypothesis in zip(members, best_path(log_probs_NTV, recognizer.bundle.charset), strict=True):
            rows[readable[i]] |= _reading(hypothesis)
    seconds = (time.perf_counter() - began) / max(len(rows), 1)
    return [row | {"seconds": seconds} for row in rows]


def _reading(hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        "prediction": hypothesis.text,
        "log_prob": hypothesis.log_prob,
        "confidence": hypothesis.confidence,
    }
