"""Work that is begun on an idle cluster waits for its machines, and no other work does."""

import os
import subprocess
import sys

import pytest

from pipeline.growth import machines
from pipeline.transcription import machines_wanted, recogniser_places
from tests.rays import ROOT, Host, RayCluster

pytestmark = pytest.mark.timeout(600)
ASK = """
import ray, sys
from pipeline.growth import machines
from pipeline.transcription import recogniser_places
ray.init(log_to_driver=False)
print("asked", flush=True)
with machines("CPU", int(sys.argv[1]), patience_s=float(sys.argv[2]), settled_s=float(sys.argv[3])) as found:
    print(found, *recogniser_places(gpu=False, shards=100))
"""


def ask(cluster: RayCluster, *arguments: object) -> "subprocess.Popen[str]":
    """A driver on the head, as a job has one."""
    return subprocess.Popen(
        [sys.executable, "-c", ASK, *map(str, arguments)],
        env=cluster.client() | {"RAY_ADDRESS": f"127.0.0.1:{cluster.port}"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_cluster_without_machines_is_waited_for_until_no_more_come() -> None:
    cluster = RayCluster()
    try:
        cluster.start(num_cpus=0)
        early = ask(cluster, 8, 1, 1)  # nobody comes in time
        assert early.communicate(timeout=240)[0].split() == ["asked", "0.0", "1", "1"]
        waiting = ask(cluster, 6, 100, 60)
        assert waiting.stdout is not None
        assert waiting.stdout.readline() == "asked\n"
        for cpus in (2, 4):
            cluster.join(Host(), num_cpus=cpus)
        assert waiting.communicate(timeout=240)[0].split() == ["6.0", "4", "1"]  # as soon as all are there
        some = ask(cluster, 100, 900, 900)  # where there are some, nothing is waited for
        assert some.communicate(timeout=240)[0].split() == ["asked", "6.0", "4", "1"]
    finally:
        cluster.stop()


def test_this_machine_alone_is_what_it_is(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with machines("GPU", 4) as none, machines("CPU", 400) as some:
        assert none == 0
        assert some >= min(4, os.cpu_count() or 1)
    assert recogniser_places(gpu=True, shards=9)[1] == 0
    assert machines_wanted(gpu=True, shards=9) == ("GPU", 9)
    assert machines_wanted(gpu=False, shards=9) == ("CPU", 14)
