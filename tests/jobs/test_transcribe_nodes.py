"""A night on two Ray nodes, without root: one is killed in the middle of its work, and the table is exact."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from crnn.recognizer import Recognizer
from jobs.runtime import ExitCode
from pipeline.nightly.table import TranscriptTable
from tests.rays import NIGHTLY, ROOT, Host, RayCluster, kill, processes


@pytest.fixture
def nodes(no_ray: None) -> Iterator[RayCluster]:
    """A head and a worker node, each with room for a recogniser and its readers."""
    cluster = RayCluster()
    try:
        cluster.start(num_cpus=2)
        cluster.join(Host(), num_cpus=2)
        yield cluster
    finally:
        cluster.stop()


def test_a_node_that_dies_in_the_night_costs_no_row_and_doubles_none(
    nodes: RayCluster, untrained_bundle: Path, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for name, data in pictures.items():
        (tmp_path / "in" / name).write_bytes(data)
    job = [sys.executable, str(ROOT / "jobs/transcribe.py"), "--input", "in", "--output", "out"]
    job += ["--run", "night", "--model", str(untrained_bundle), "--shard-rows", "2"]
    job += ["--tracking", f"sqlite:///{tmp_path}/mlflow.db"]
    environment = nodes.client() | {"RAY_ADDRESS": f"127.0.0.1:{nodes.port}"}
    (worker,) = nodes.workers
    parts = tmp_path / "out/table/run=night"
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(job, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        while not (busy := at_work(worker)) or not any(parts.glob("*.parquet")):
            assert driver.poll() is None, (tmp_path / "log").read_text()[-3000:]
            time.sleep(0.02)
        kill(worker)
        early = len(list(parts.glob("*.parquet")))
        assert driver.wait(timeout=300) == ExitCode.OK, (tmp_path / "log").read_text()[-3000:]
    finally:
        driver.kill()
        driver.wait()
    assert early < 30, f"the night was over when {busy} were killed"
    rows = TranscriptTable(str(tmp_path / "out")).rows().to_table().to_pylist()
    recognizer = Recognizer.load(untrained_bundle)
    alone = [hypothesis.text for hypothesis in recognizer(list(pictures.values()))]
    assert sorted((row["key"], row["text"]) for row in rows) == list(zip(pictures, alone, strict=True))


def at_work(host: Host) -> list[str]:
    """What a node's processes do for the night at this moment."""
    return [name for name in processes(host).values() if name.startswith(NIGHTLY)]
