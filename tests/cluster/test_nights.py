"""Nights on several hosts: one dies, one is cut off, MLflow is out of reach, the head is restarted."""

import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from crnn.recognizer import Recognizer
from jobs.runtime import ExitCode
from pipeline.mlflow_run import find_run, mlflow_client
from pipeline.nightly.table import TranscriptTable
from pipeline.registry import register_bundle, set_alias
from pipeline.storage import write_atomic
from pipeline.transcripts import finished_shards
from tests.cluster.conftest import PROVED, Place, make_buckets
from tests.cluster.faults import OUT_OF_REACH_S, lose_two, slow_store, until
from tests.datasets import png, printed
from tests.rays import NIGHTLY, ROOT, kill

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

INPUT, OUTPUT = "s3://nights/photographs", "s3://nights/transcripts"


def test_nights_read_each_picture_once_whatever_their_hosts_suffer(
    place: Place, untrained_bundle: Path
) -> None:
    place.whole()
    make_buckets("nights")
    set_alias("crnn", "champion", register_bundle(untrained_bundle, "crnn"))
    recognizer, table = Recognizer.load(untrained_bundle), TranscriptTable(OUTPUT)

    expected = put(recognizer, range(240))
    suffer(place, "first")
    assert read(table) == sorted(expected.items())
    PROVED.append(("a night: a host dies, one is cut off", "every picture has one row, exit code 0"))
    PROVED.append(("MLflow out of reach while they are lost", "the night goes on, and is there in the end"))

    place.begin_again()
    expected |= put(recognizer, range(240, 250))
    assert "10 of 10 owed" in finish(place, "second")
    assert read(table) == sorted(expected.items())
    assert "nothing new, nothing published" in finish(place, "third")
    assert table.publications() == 2
    client = mlflow_client(place.environment["MLFLOW_TRACKING_URI"])
    for run, rows in (("first", 240), ("second", 10)):
        entry = find_run(client, "transcribe", f"transcribe {run}")
        assert entry is not None
        assert (entry.info.status, entry.data.metrics["rows/low_confidence"]) == ("FINISHED", rows)
    PROVED.append(("the head restarted between nights", "the next reads what is new, the third nothing"))


def put(recognizer: Recognizer, numbers: range) -> dict[str, str]:
    """Puts small pictures into the bucket; what the recogniser alone reads in each, by its key."""
    data = {f"{n:04d}.png": png(printed(f"word {n}", n)) for n in numbers}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: write_atomic(f"{INPUT}/{key}", data[key]), data))
    readings = recognizer(list(data.values()))
    return {key: reading.text for key, reading in zip(data, readings, strict=True)}


def read(table: TranscriptTable) -> list[tuple[str, str]]:
    """Key and text of every published row."""
    rows = table.rows().to_table(columns=["key", "text"]).to_pylist()
    return sorted((row["key"], row["text"]) for row in rows)


def submit(place: Place, run: str) -> "subprocess.Popen[str]":
    """A night, as the scheduler hands it over."""
    flags = ["--input", INPUT, "--output", OUTPUT, "--run", run]
    flags += ["--model", "models:/crnn@champion", "--shard-rows", "4"]
    return place.cluster.submit(f"night-{run}", "python", str(ROOT / "jobs/transcribe.py"), *flags)


def finish(place: Place, run: str) -> str:
    """What a night says that nothing befalls."""
    job = submit(place, run)
    told = job.communicate(timeout=300)[0]
    assert job.returncode == ExitCode.OK, told[-3000:]
    return told


def suffer(place: Place, run: str) -> None:
    """A night in which two of three hosts are lost, and MLflow is out of reach meanwhile."""

    def shards() -> int:
        return len(list(finished_shards(f"{OUTPUT}/runs/{run}")))

    cut = job = None
    try:
        with slow_store(place, "/photographs/"):  # until both are lost, however fast the others are
            job = submit(place, run)
            until(shards, job)
            place.network.cut("mlflow")
            silent_since, before = time.monotonic(), shards()

            def further() -> bool:
                # A recogniser on the host that takes the lost one's place has no model yet, and waits for it.
                if time.monotonic() > silent_since + OUT_OF_REACH_S:
                    place.network.mend("mlflow")
                return shards() > before

            cut = lose_two(place, NIGHTLY, job, further)
            place.network.mend("mlflow")
        told = job.communicate(timeout=600)[0]
    finally:
        for name in ("mlflow", *place.hosts):
            place.network.mend(name)
        if cut is not None:
            kill(place.hosts[cut])
        if job is not None:
            with job:  # so that nothing of one that failed stands in the next scenario's way
                job.kill()
    assert job.returncode == ExitCode.OK, told[-3000:]
