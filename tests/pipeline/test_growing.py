"""How much a cluster may grow, as its autoscaler tells: what jobs reckon with that begin when it is idle."""

from collections.abc import Iterator

import pytest
import ray

from pipeline.machine import cluster_resources, reachable_resources
from pipeline.transcription import recogniser_places

GROUPS = (
    ("head", {"CPU": 0}, 1),
    ("data", {"CPU": 8}, 3),
    ("gpu", {"CPU": 8, "GPU": 1}, 2),
)


@pytest.fixture
def growing(local_ray: None) -> Iterator[None]:
    """The cluster's own autoscaler has told what it may start."""
    from ray._raylet import GcsClient
    from ray.core.generated import autoscaler_pb2

    client = GcsClient(address=ray.get_runtime_context().gcs_address)
    config = autoscaler_pb2.ClusterConfig()
    for name, resources, count in GROUPS:
        group = config.node_group_configs.add(name=name, max_count=count)
        group.resources.update(resources)
    client.report_cluster_config(config.SerializeToString())
    yield
    client.report_cluster_config(autoscaler_pb2.ClusterConfig().SerializeToString())


@pytest.mark.usefixtures("growing")
def test_machines_that_may_come_count_and_those_with_gpus_only_where_these_are_wanted() -> None:
    here = cluster_resources()["CPU"]
    assert here < 24
    assert reachable_resources(gpu=False)["CPU"] == 24
    assert reachable_resources(gpu=False).get("GPU", 0) == cluster_resources().get("GPU", 0)
    assert reachable_resources(gpu=True)["GPU"] == 2
    assert reachable_resources(gpu=True)["CPU"] == 40
    assert recogniser_places(gpu=False, shards=1_000) == (16, 1)
    assert recogniser_places(gpu=True, shards=1_000) == (2, 0)
    assert recogniser_places(gpu=False, shards=3) == (3, 1)


@pytest.mark.usefixtures("local_ray")
def test_a_cluster_that_does_not_grow_is_what_it_is() -> None:
    assert reachable_resources(gpu=False) == cluster_resources()


def test_where_nobody_knows_recognisers_wait_for_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.transcription.reachable_resources", lambda **_: {"memory": 1.0})
    assert recogniser_places(gpu=False, shards=10) == (10, 1)
    assert recogniser_places(gpu=False, shards=1_000) == (64, 1)
