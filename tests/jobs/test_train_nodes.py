"""Training on several Ray nodes: one is killed with its worker, and the run goes on elsewhere."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.mlflow_run import find_run, mlflow_client
from pipeline.order import Position
from pipeline.runs import CheckpointFiles, finished, latest_position
from tests.datasets import word_rows, write_data_set
from tests.rays import ROOT, Host, RayCluster, kill, processes

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
    pytest.mark.cluster,  # three nodes take minutes on two cores
    pytest.mark.timeout(900),
]


@pytest.fixture
def nodes(no_ray: None) -> Iterator[RayCluster]:
    """A head that computes nothing, as ours are, and two nodes with room for a whole run each."""
    cluster = RayCluster()
    try:
        cluster.start(num_cpus=0)
        for _ in range(2):
            cluster.add(Host(), num_cpus=2)
        yield cluster
    finally:
        cluster.stop()


def test_a_node_that_dies_takes_nothing_with_it_but_time(nodes: RayCluster, tmp_path: Path) -> None:
    words = word_rows([f"{'abc'[: i % 4]}{i}" for i in range(80)])
    write_data_set(str(tmp_path / "train"), words, shard_rows=40)
    write_data_set(str(tmp_path / "held_out"), words[::10], shard_rows=40)
    run, store = str(tmp_path / "runs/run"), f"sqlite:///{tmp_path}/mlflow.db"
    job = [sys.executable, str(ROOT / "jobs/train.py"), "demo", "--name", "run", "--register-as", "None"]
    job += ["--start-from", "None", "--network", "tiny", "--charset", "alnum36"]
    job += ["--data", str(tmp_path / "train"), "--validation", f"words={tmp_path / 'held_out'}"]
    job += ["--output", str(tmp_path / "runs"), "--tracking", store, "--log-every", "1"]
    job += ["--images", "160", "--window-rows", "40", "--pack-columns", "1024", "--save-every", "40"]
    environment = nodes.client() | {"RAY_ADDRESS": f"127.0.0.1:{nodes.port}"}
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(job, cwd=tmp_path, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        while latest_position(run) is None:
            assert driver.poll() is None, (tmp_path / "log").read_text()[-3000:]
            time.sleep(0.1)
        (host,) = (h for h in nodes.workers if any("RayTrainWorker" in p for p in processes(h).values()))
        kill(host)
        assert driver.wait(timeout=600) == 0, (tmp_path / "log").read_text()[-3000:]
    finally:
        driver.kill()
        driver.wait()
    done = finished(run)
    assert done is not None
    assert done.images_seen == 160
    assert latest_position(run) == Position(through=4)
    points = Counter((p.key, p.step) for p in CheckpointFiles.at(done.last_uri).history())
    assert set(points.values()) == {1}
    entry = find_run(mlflow_client(store), "crnn", "run")
    assert entry is not None
    assert entry.info.status == "FINISHED"
    seen = mlflow_client(store).get_metric_history(entry.info.run_id, "train/images_seen")
    assert [m.step for m in seen] == list(range(1, len(seen) + 1))
