"""The jobs' own files through Ray's own `ray job submit`, on a cluster with a token."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.mlflow_run import find_run, mlflow_client
from pipeline.runs import finished
from tests.datasets import word_rows, write_data_set
from tests.rays import RAY, ROOT, RayCluster


@pytest.fixture
def cluster(no_ray: None) -> Iterator[RayCluster]:
    cluster = RayCluster()
    try:
        cluster.start(num_cpus=4)
        yield cluster
    finally:
        cluster.stop()


def test_training_is_submitted_as_a_person_does_it(cluster: RayCluster, tmp_path: Path) -> None:
    write_data_set(str(tmp_path / "train"), word_rows(["ab", "cd", "e1", "2"] * 20), shard_rows=40)
    write_data_set(str(tmp_path / "held_out"), word_rows(["ab", "cd"], "held"), shard_rows=40)
    store = f"sqlite:///{tmp_path}/mlflow.db"
    job = ["python", "jobs/train.py", "demo", "--name", "sent", "--workers", "2", "--images", "80"]
    job += ["--data", str(tmp_path / "train"), "--validation", f"words={tmp_path / 'held_out'}"]
    job += ["--output", str(tmp_path / "runs"), "--tracking", store, "--window-rows", "40"]
    command = [RAY, "job", "submit", f"--address={cluster.address}", "--working-dir", ".", "--", *job]
    for _ in range(30):  # a head that has just started answers before it takes jobs
        submitted = subprocess.run(
            command,
            cwd=ROOT,
            env=cluster.client(),
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
        )
        if "No available agent" not in submitted.stderr:
            break
        time.sleep(1)
    assert submitted.returncode == 0, submitted.stdout[-3000:]
    assert "models:/crnn/1, @candidate" in submitted.stdout
    done = finished(str(tmp_path / "runs" / "sent"))
    assert done is not None
    assert done.metrics["images_seen"] == 80
    run = find_run(mlflow_client(store), "crnn", "sent")
    assert run is not None
    assert run.info.status == "FINISHED"
    assert run.data.tags["crnn.ray_job"].startswith("raysubmit_")
