"""Training on several Ray nodes: one is killed with its worker, and the run goes on elsewhere."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.mlflow_run import find_run, mlflow_client
from pipeline.order import Position
from pipeline.runs import CheckpointFiles, Finished, finished, latest_position
from tests.datasets import word_rows, write_data_set
from tests.rays import ROOT, Host, RayCluster, kill, processes

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
    pytest.mark.faults,  # three nodes take minutes on two cores
    pytest.mark.timeout(900),
]


@pytest.fixture
def nodes(no_ray: None) -> Iterator[RayCluster]:
    """A head that computes nothing, as ours are."""
    cluster = RayCluster()
    try:
        cluster.start(num_cpus=0)
        yield cluster
    finally:
        cluster.stop()


@dataclass(frozen=True)
class Training:
    """A run that goes on beside the test."""

    folder: Path
    driver: "subprocess.Popen[bytes]"

    @property
    def run(self) -> str:
        """Its folder."""
        return str(self.folder / "runs/run")

    def until(self, sign: Callable[[], object]) -> None:
        """Waits for a sign while it runs."""
        while not sign():
            assert self.driver.poll() is None, (self.folder / "log").read_text()[-3000:]
            time.sleep(0.1)

    def end(self) -> Finished:
        """Waits for its good end."""
        assert self.driver.wait(timeout=600) == 0, (self.folder / "log").read_text()[-3000:]
        done = finished(self.run)
        assert done is not None
        return done


@contextmanager
def training(nodes: RayCluster, folder: Path, *flags: str) -> Iterator[Training]:
    """A small run on 80 words."""
    words = word_rows([f"{'abc'[: i % 4]}{i}" for i in range(80)])
    write_data_set(str(folder / "train"), words, shard_rows=40)
    write_data_set(str(folder / "held_out"), words[::10], shard_rows=40)
    job = [sys.executable, str(ROOT / "jobs/train.py"), "demo", "--name", "run", "--register-as", "None"]
    job += ["--start-from", "None", "--network", "tiny", "--charset", "alnum36"]
    job += ["--data", str(folder / "train"), "--validation", f"words={folder / 'held_out'}"]
    job += ["--output", str(folder / "runs"), "--tracking", f"sqlite:///{folder}/mlflow.db"]
    job += ["--log-every", "1", "--window-rows", "40", *flags]
    environment = nodes.client() | {"RAY_ADDRESS": f"127.0.0.1:{nodes.port}"}
    with (folder / "log").open("w") as log:
        driver = subprocess.Popen(job, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield Training(folder, driver)
    finally:
        driver.kill()
        driver.wait()


def at_work(nodes: RayCluster) -> list[Host]:
    return [h for h in nodes.workers if any("RayTrainWorker" in p for p in processes(h).values())]


def test_a_run_goes_on_with_the_nodes_that_are_left_and_takes_in_new_ones(
    nodes: RayCluster, tmp_path: Path
) -> None:
    for _ in range(2):
        nodes.join(Host(), num_cpus=1)
    flags = ["--workers", "2", "--min-workers", "1", "--resize-s", "1", "--max-failures", "6"]
    flags += ["--images", "2400", "--pack-columns", "256", "--save-every", "200"]
    with training(nodes, tmp_path, *flags) as job:
        job.until(lambda: latest_position(job.run) and len(at_work(nodes)) == 2)
        kill(at_work(nodes)[0])
        nodes.workers = [host for host in nodes.workers if host.process and host.process.poll() is None]
        before = latest_position(job.run)
        job.until(lambda: latest_position(job.run) != before and len(at_work(nodes)) == 1)
        nodes.add(Host(), num_cpus=1)
        job.until(lambda: len(at_work(nodes)) == 2)
        done = job.end()
    assert done.images_seen == 2400
    assert latest_position(job.run) == Position(through=60)
    points = CheckpointFiles.at(done.last_uri).history()
    assert set(Counter((p.key, p.step) for p in points).values()) == {1}
    steps = sorted(p.step for p in points if p.key == "train/images_seen")
    assert steps == list(range(1, len(steps) + 1))
    shared = {p.step for p in points if p.key == "train/rank_1/images_per_s"}
    alone = [step for step in steps if step not in shared]
    assert min(shared) < min(alone) <= max(alone) < max(shared)


def test_a_node_that_dies_takes_nothing_with_it_but_time(nodes: RayCluster, tmp_path: Path) -> None:
    for _ in range(2):  # with room for the whole run each
        nodes.join(Host(), num_cpus=2)
    flags = ["--images", "160", "--pack-columns", "1024", "--save-every", "40"]
    with training(nodes, tmp_path, *flags) as job:
        job.until(lambda: latest_position(job.run))
        (host,) = at_work(nodes)
        kill(host)
        done = job.end()
    assert done.images_seen == 160
    assert latest_position(job.run) == Position(through=4)
    points = Counter((p.key, p.step) for p in CheckpointFiles.at(done.last_uri).history())
    assert set(points.values()) == {1}
    store = f"sqlite:///{tmp_path}/mlflow.db"
    entry = find_run(mlflow_client(store), "crnn", "run")
    assert entry is not None
    assert entry.info.status == "FINISHED"
    seen = mlflow_client(store).get_metric_history(entry.info.run_id, "train/images_seen")
    assert [m.step for m in seen] == list(range(1, len(seen) + 1))
