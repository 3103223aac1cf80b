"""What a night reaches end to end, from files to committed rows, beside its recogniser fed from memory."""

import logging
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from crnn.errors import ImageRejectedError
from crnn.recognizer import Recognizer
from pipeline.benchmark.measure import Rate, Row, Setting, row
from pipeline.benchmark.recognition import photograph
from pipeline.lease import acquire
from pipeline.machine import available_cpus, local_ray_cpus
from pipeline.nightly.pace import MOST_SHARD_ROWS, steady
from pipeline.ray_output import quiet_ray_data
from pipeline.storage import list_objects, read_bytes
from pipeline.transcribe_config import TranscribeConfig
from pipeline.transcription import recogniser_places, transcribe
from pipeline.transcription_run import begin

MODEL = "latin94-small"
"""The quickest: what is spent beside it shows the most."""
_MADE = 512
"""Photographs of each recogniser, where none are given."""
_SHARDS = 8
"""For each recogniser: what is started and ended with is left out, and there must be a middle."""
_IN_MEMORY = 5_000
"""Images of each process that is fed from memory, at most."""
_PATIENCE_S = 600.0


def night(setting: Setting) -> Iterator[Row]:
    """A transcription of local files by a local Ray, by the clock on the wall, while all its recognisers have
    work. The ceiling is as many processes with the same files as line images in memory, as many at a time."""
    with TemporaryDirectory(prefix="crnn-night-") as folder:
        source = setting.photographs or str(_made(Path(folder) / "made", _MADE * available_cpus()))
        uris = [stored.uri for stored in list_objects(source)]
        places, ends = _transcribed(source, len(uris), Path(folder) / "night")
        images, seconds = steady(ends, places)
        reached = images / seconds if seconds else 0.0
        yield row(
            "night",
            f"{MODEL}, {len(uris):,} files, {places} recognisers",
            "images/s",
            Rate(median=reached, low=reached, high=reached),
            ceiling=_from_memory(uris, places),
            bound="as many processes fed from memory",
        )


def _made(folder: Path, count: int) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(count):
        kind = ("JPEG", "PNG")[number % 2]
        (folder / f"{number:06d}.{kind.lower()}").write_bytes(photograph(generator, kind))
    return folder


def _shard_rows(images: int, places: int) -> int:
    return min(max(images // (places * _SHARDS), 1), MOST_SHARD_ROWS)


def _transcribed(source: str, images: int, output: Path) -> tuple[int, list[tuple[float, int]]]:
    """How many recognisers there were, and when how many images had their rows."""
    import ray

    output.mkdir()
    quiet_ray_data()
    with ray.init(
        address="local",  # and no cluster's: the ceiling is this machine's
        num_cpus=local_ray_cpus(),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    ):
        places, _ = recogniser_places(gpu=False, shards=images)
        return places, _ends(source, output, _shard_rows(images, places))


def _ends(source: str, output: Path, rows: int) -> list[tuple[float, int]]:
    store = f"sqlite:///{output}/mlflow.db"
    config = TranscribeConfig(
        input=source, output=str(output), model=MODEL, run="night", shard_rows=rows, tracking=store
    )
    ends, done = [], 0
    with acquire(config.output, "night") as lease:
        for result in transcribe(begin(config, "night", lease)):
            done += result.rows
            ends.append((time.monotonic(), done))
    return ends


def _from_memory(uris: Sequence[str], processes: int) -> float:
    """Images a second of all processes together, each with its share of the images."""
    context = multiprocessing.get_context("spawn")
    barrier, rates = context.Barrier(processes), SimpleQueue[float](ctx=context)
    rows = _shard_rows(len(uris), processes)
    shares = [uris[i::processes][:_IN_MEMORY] for i in range(processes)]
    started = [
        context.Process(target=_recognise, args=(share, rows, barrier, rates), daemon=True)
        for share in shares
    ]
    for each in started:
        each.start()
    for each in started:
        each.join(_PATIENCE_S)
    if any(each.exitcode != 0 for each in started):
        raise RuntimeError("A recogniser that was fed from memory ended with an error, told above.")
    return sum(rates.get() for _ in started)


def _recognise(uris: Sequence[str], rows: int, barrier: Barrier, rates: "SimpleQueue[float]") -> None:
    """Files that can't be read count as they do in a night."""
    torch.set_num_threads(1)
    try:
        recognizer, lines = Recognizer.load(MODEL), []
        for uri in uris:
            with suppress(ImageRejectedError):
                lines.append(recognizer.prepare(read_bytes(uri)).pixels)
        recognizer.recognise(lines[:rows])
        barrier.wait(_PATIENCE_S)
    except BaseException:
        barrier.abort()  # the others needn't wait for this one
        raise
    began = time.perf_counter()
    for start in range(0, len(lines), rows):
        recognizer.recognise(lines[start : start + rows])
    rates.put(len(uris) / (time.perf_counter() - began))
