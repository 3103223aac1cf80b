"""Images in storage to a table of texts: every object that was listed gets exactly one row.

list → subtract → freeze → fetch → decode → pack → recognise → commit → publish
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import pyarrow as pa

from crnn.preprocess import GreyImage, evened_views
from crnn.recognizer import Recognizer
from pipeline.lines import RECOGNISE_S, add
from pipeline.machine import cluster_resources
from pipeline.nightly.canaries import Aviary
from pipeline.transcribe_config import TranscribeConfig
from pipeline.transcription_run import Reader, Transcription, remaining_shards
from pipeline.transcription_stages import fetch_and_decode, pack, unpack, write_and_commit
from pipeline.transcripts import line_images, transcripts

FAULTS_BORNE = 8
"""Shards that may fail for storage's sake before a run gives up: by then it isn't one object's bad luck."""

READER_CPUS = 0.5
"""Readers wait for storage about half of their time. The number must differ from the recognisers': Ray would
fuse the two, and then no shard would be read while another is recognised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardResult:
    """A shard's end: it is committed, or a fault left it undone."""

    shard: int
    rows: int
    """Committed; 0 with a fault."""
    fault: str | None


def transcribe(job: Transcription) -> Iterator[ShardResult]:
    """Does what is left of a run, on Ray, which must be connected; each shard's end as it comes.

    A shard that storage kept from being read or written ends with a fault, is not committed, and is done
    by the next start of the run. After `FAULTS_BORNE` of them the rest is left alone, without results.
    """
    import ray
    from ray.data import ActorPoolStrategy

    from pipeline.pace import paced

    todo = remaining_shards(job)
    if not todo:
        return
    recognisers, cpus = recogniser_places(job.config.gpu, len(todo))
    read = partial(
        fetch_and_decode,
        shards=todo,
        listing=job.listing,
        preprocess=job.preprocess,
        fetch=job.config.fetch,
        sandbox=job.config.sandbox,
    )
    keep = partial(write_and_commit, listing=job.listing, table_uri=job.table.uri, run_uri=job.run_uri)
    with paced():
        shards = ray.data.range(len(todo), override_num_blocks=len(todo))
    graph = (
        shards.map_batches(read, batch_size=1, batch_format="pyarrow", num_cpus=READER_CPUS)
        .map_batches(
            PackAndRecognise,
            fn_constructor_args=(job,),
            compute=ActorPoolStrategy(min_size=1, max_size=recognisers),
            batch_size=1,
            batch_format="pyarrow",
            num_gpus=1 if job.config.gpu else 0,
            num_cpus=cpus,
        )
        .map_batches(keep, batch_size=1, batch_format="pyarrow", num_cpus=0.25)
    )
    faults = 0
    for row in graph.iter_rows():
        yield ShardResult(shard=row["shard"], rows=row["rows"], fault=row["fault"])
        faults += row["fault"] is not None
        if faults >= FAULTS_BORNE:
            return


def recogniser_places(gpu: bool, shards: int) -> tuple[int, int]:
    """How many recognisers at most and the CPUs of each: a third is left to readers, who would starve."""
    resources = cluster_resources()
    cpus = resources.get("CPU", 0.0)
    places = resources.get("GPU", 0) if gpu else cpus * 2 // 3
    # A CPU each, but where there is no other for readers: else Ray would put them on a cluster's head.
    return max(1, min(int(places), shards)), int(not gpu and cpus != 1)


def machines_wanted(gpu: bool, shards: int) -> tuple[str, int]:
    """What a cluster is asked for: a recogniser for every shard, and half a CPU for each to read for it."""
    return ("GPU", shards) if gpu else ("CPU", shards + -(-shards // 2))


class PackAndRecognise:
    """Ray's actor: recognisers that are loaded once; a shard's lines to its transcripts."""

    def __init__(self, job: Transcription) -> None:
        self._job = job
        self._recognizer = _recognizer(job.reader, job.config)
        self._shadow = _recognizer(job.shadow, job.config) if job.shadow else None
        self._aviary = Aviary(self._recognizer, job.canaries)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """A shard's lines to its transcripts; where there are none, the row as it came."""
        packed, job = unpack(batch), self._job
        if packed.table is None:
            return batch
        lines, began = packed.table, time.perf_counter()
        images = line_images(lines, job.preprocess)
        readings = self._recognizer.recognise(images, others=job.config.n_best - 1)
        table = transcripts(
            lines,
            readings,
            shadow=self._shadow_texts(lines, images),
            model=job.model,
            publication=job.listing.facts.publication,
            least_confidence=job.config.least_confidence,
            now=datetime.now(UTC),
        )
        self._aviary.watch(packed.shard, job.listing.shards, packed.figures)
        add(packed.figures, RECOGNISE_S, time.perf_counter() - began)
        return pack(replace(packed, table=table))

    def _shadow_texts(self, lines: pa.Table, images: Sequence[GreyImage]) -> dict[str, str]:
        """What the shadow model reads, by input_id; always of the same images."""
        if self._shadow is None:
            return {}
        readable = (
            lines.select(["input_id", "width", "height"]).filter(lines["pixels"].is_valid()).to_pylist()
        )
        bound = self._job.config.shadow_share * 2**32
        chosen = [
            (row, image)
            for row, image in zip(readable, images, strict=True)
            if int(row["input_id"][:8], 16) < bound
        ]
        own = replace(self._job.preprocess, contrast=self._shadow.bundle.preprocess.contrast)
        if own != self._job.preprocess:
            chosen = [(r, evened_views(image, r["width"], r["height"], own)) for r, image in chosen]
        texts = self._shadow.recognise([image for _, image in chosen])
        return {row["input_id"]: reading.text for (row, _), reading in zip(chosen, texts, strict=True)}


def _recognizer(reader: Reader, config: TranscribeConfig) -> Recognizer:
    device = "cuda" if config.gpu else "cpu"
    return Recognizer.load(
        reader.source.fetch(), device=device, precision=config.precision, language=reader.whole
    )
