"""How fast the nightly job's stages turn local files into rows, beside the recogniser that they feed.

Without Ray, by CPU time, that of the sandbox included: where all cores are busy, an image takes the CPU time
that it needs, whichever process spends it.
"""

import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.benchmark.measure import Row, Setting, rate, row, torch_threads
from pipeline.benchmark.recognition import fresh_recognizer, photograph
from pipeline.fetch import FetchConfig
from pipeline.lines import read_lines
from pipeline.listing import input_id
from pipeline.registry import ResolvedModel
from pipeline.sandbox import Sandbox, SandboxConfig
from pipeline.schema import LISTING_SCHEMA
from pipeline.storage import list_objects, parquet_bytes
from pipeline.transcripts import line_images, transcripts

_FILES = 256


def transcription(setting: Setting) -> Iterator[Row]:
    """Local files to rows of text, by one core; the recogniser, fed from memory, is the ceiling."""
    with tempfile.TemporaryDirectory(prefix="crnn-benchmark-") as folder, torch_threads(1):
        objects = _files(Path(folder))
        for network in setting.networks:
            yield _measured(network, objects, setting)


def _measured(network: str, objects: pa.Table, setting: Setting) -> Row:
    recognizer = fresh_recognizer(network)
    geometry = recognizer.bundle.reading
    model = ResolvedModel(name=network, version="1", digest="fresh", directory=Path())
    with Sandbox(geometry, SandboxConfig()) as sandbox:
        images = line_images(read_lines(objects, sandbox, FetchConfig()), geometry)

        def clock() -> float:
            assert sandbox.pid is not None
            # The kernel's name of another process's CPU clock, as clock_getcpuclockid(3) makes it.
            return time.process_time() + time.clock_gettime((~sandbox.pid << 3) | 2)

        def work() -> int:
            lines = read_lines(objects, sandbox, FetchConfig())
            rows = transcripts(
                lines,
                recognizer.recognise(line_images(lines, geometry)),
                shadow={},
                model=model,
                publication=1,
                least_confidence=0.5,
                now=datetime.now(UTC),
            )
            parquet_bytes(rows)
            return len(images)

        return row(
            "transcribe",
            f"{network} fp32 on 1 CPU",
            "images/s",
            rate(work, setting, clock),
            ceiling=rate(lambda: len(recognizer.recognise(images)), setting, clock).median,
            bound="the recogniser fed from memory",
        )


def _files(folder: Path) -> pa.Table:
    """Photographs on disk, half of them JPEG and half PNG, as a listing."""
    generator = np.random.default_rng(0)
    for number in range(_FILES):
        data = photograph(generator, ("JPEG", "PNG")[number % 2])
        (folder / f"{number:03d}").write_bytes(data)
    rows = [
        {
            "input_id": input_id(stored.uri, stored.etag, stored.size),
            "uri": stored.uri,
            "member": "",
            "key": stored.key,
            "etag": stored.etag,
            "size": stored.size,
            "modified": stored.modified,
            "earlier_rows": 0,
            "gone": False,
        }
        for stored in list_objects(str(folder))
    ]
    return pa.Table.from_pylist(rows, schema=LISTING_SCHEMA)
