"""Nights to be killed: `python nights.py` forks one process a night, so that none has to import anything.

Reads orders from stdin, one JSON object a line: the fields of `TranscribeConfig`, and with {"go": pid} lets a
night begin that waits. Answers {"pid": …} when a night is ready and {"pid": …, "code": …} when it has ended.
A night is the job without Ray: the same stages, shard by shard in one process.
"""

import json
import os
import sys
import threading
from functools import partial
from typing import Any

import pyarrow as pa
import torch

from pipeline.errors import FencedError, LeaseHeldError, PipelineError
from pipeline.lease import acquire
from pipeline.transcribe_config import TranscribeConfig
from pipeline.transcription import PackAndRecognise
from pipeline.transcription_run import begin, publish, remaining_shards
from pipeline.transcription_stages import fetch_and_decode, unpack, write_and_commit


def night(config: TranscribeConfig) -> int:
    """Does a run; its exit code as the job's."""
    try:
        with acquire(config.output, str(config.run), silence_s=config.lease_s) as lease:
            job = begin(config, str(config.run), lease)
            todo = remaining_shards(job)
            read = partial(
                fetch_and_decode,
                shards=todo,
                listing=job.listing,
                preprocess=job.preprocess,
                fetch=config.fetch,
                sandbox=config.sandbox,
            )
            recognise = PackAndRecognise(job) if todo else None
            keep = partial(
                write_and_commit, listing=job.listing, table_uri=job.table.uri, run_uri=job.run_uri
            )
            for place in range(len(todo)):
                lease.check()
                batch = read(pa.table({"id": [place]}))
                if unpack(batch).table is not None and recognise is not None:
                    batch = recognise(batch)
                (fault,) = keep(batch)["fault"].to_pylist()
                if fault:
                    raise PipelineError(fault)
            publish(job, lease)
    except LeaseHeldError:
        return 75
    except FencedError:
        return 76
    except PipelineError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


def serve() -> None:
    """Forks nights until stdin ends."""
    torch.set_num_threads(1)
    waiting: dict[int, int] = {}
    for line in sys.stdin:
        order: dict[str, Any] = json.loads(line)
        if "go" in order:
            os.close(waiting.pop(order["go"]))
            continue
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(writing)
            for other in waiting.values():
                os.close(other)
            os.read(reading, 1)  # until the other end is closed
            os._exit(night(TranscribeConfig(**order)))
        os.close(reading)
        waiting[pid] = writing
        tell(pid=pid)
        threading.Thread(target=wait, args=(pid,)).start()


def wait(pid: int) -> None:
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    tell(pid=pid, code=code)


def tell(**answer: int) -> None:
    os.write(1, (json.dumps(answer) + "\n").encode())


if __name__ == "__main__":
    serve()
