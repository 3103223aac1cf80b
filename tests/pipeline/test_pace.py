"""Graphs at a pace give what they gave, and their loop rests between its turns."""

import pytest
import ray.data

from pipeline.pace import STEP_S, paced

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


def test_the_loop_rests_after_every_turn_and_the_rows_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []
    monkeypatch.setattr("pipeline.pace.sleep", rests.append)
    before = ray.data.DataContext.get_current()
    with paced(target_max_block_size=1 << 20):
        graph = ray.data.range(40, override_num_blocks=8)
    assert graph.context.target_max_block_size == 1 << 20
    assert ray.data.DataContext.get_current() is before
    assert sorted(row["id"] for row in graph.map(lambda row: row).iter_rows()) == list(range(40))
    assert set(rests) == {STEP_S}
    rested = len(rests)
    assert ray.data.range(3).count() == 3
    assert len(rests) == rested
