"""A plan's memory, in a process of its own: a hundred times the objects, on both sides, cost no more."""

import subprocess
import sys
from pathlib import Path

import pytest

PLAN = """
import json, resource, sys, time
from datetime import UTC, datetime
import pyarrow as pa
from pipeline.listing import freeze, input_id
from pipeline.inputs import listed as inputs
from pipeline.nightly import plan as module
from pipeline.nightly.table import TableFile, TranscriptTable
from pipeline.schema import TRANSCRIPT_SCHEMA
from pipeline.storage import StoredObject, parquet_bytes, write_atomic

folder, count = sys.argv[1], int(sys.argv[2])
NOW = datetime(2030, 1, 1, tzinfo=UTC)
def listed(_):
    for i in range(count):
        yield StoredObject(uri=f"/in/{i:09d}.png", key=f"{i:09d}.png", size=i, etag=f"etag {i}", modified=NOW)
inputs.list_objects = listed
table, files = TranscriptTable(folder), []
for start in range(0, count // 2, 10_000):  # the first half is published already
    ids = range(start, min(start + 10_000, count // 2))
    uris = [f"/in/{i:09d}.png" for i in ids]
    columns = {
        "id": uris, "input_id": [input_id(u, f"etag {i}", i) for u, i in zip(uris, ids)], "uri": uris,
        "member": [""] * len(uris),
        "key": [u[4:] for u in uris], "etag": [f"etag {i}" for i in ids], "size": list(ids),
    }
    same = {"status": "ok", "model_name": "m", "model_version": "1", "model_digest": "d",
            "decoder_version": 1, "publication": 1, "recognised_at": NOW}
    whole = {f.name: columns.get(f.name, [same.get(f.name)] * len(uris)) for f in TRANSCRIPT_SCHEMA}
    data = parquet_bytes(pa.table(whole, schema=TRANSCRIPT_SCHEMA))
    files.append(TableFile(path=f"run=a/s{start}.parquet", bytes=len(data), rows=len(uris)))
    write_atomic(f"{table.uri}/{files[-1].path}", data)
table.publish("a", files, epoch=1, publication=1, check=lambda: None)
before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
config = module.PlanConfig(source="/in", include=("*",), suffixes=(), policy="new_only", limit=None,
                           allow_shrink=False, index_uri=None)
with module.make_plan(config, table, digest="d", decoder=1) as plan:
    listing = freeze(folder, plan.rows, plan.facts, 2_048)
print(json.dumps({"rows": listing.rows, "seen": listing.facts.seen, "seconds": time.monotonic() - began,
                  "mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024,
                  "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def planned(folder: Path, count: int) -> dict[str, float]:
    import json

    done = subprocess.run(
        [sys.executable, "-c", PLAN, str(folder / str(count)), str(count)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).resolve().parents[3],
    )
    told: dict[str, float] = json.loads(done.stdout)
    sys.stdout.write(f"{count} objects: {told}\n")
    return told


@pytest.mark.faults
def test_a_million_objects_are_planned_in_the_memory_of_a_few(tmp_path: Path) -> None:
    few, many = planned(tmp_path, 10_000), planned(tmp_path, 1_000_000)
    assert (few["rows"], many["rows"]) == (5_000, 500_000)
    assert many["peak"] < few["peak"] + 600  # what DuckDB may take, whatever the number
