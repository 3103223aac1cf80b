"""Training fed by Ray Data is measured beside the same steps fed from memory."""

import pytest

from pipeline.benchmark.end_to_end import end_to_end_rows
from pipeline.benchmark.measure import Setting
from pipeline.synthesis.assets import Assets

# Ray Train sets this on Ray Data by itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*exclude_resources:DeprecationWarning")


def test_the_feed_alone_and_each_network_are_measured(local_ray: None, tiny_assets: str) -> None:
    setting = Setting(rounds=2, seconds=0.05, networks=("tiny",))
    *alone, tiny = end_to_end_rows(Assets.open(tiny_assets), setting)
    assert [found.name for found in alone] == ["feed alone", "feed alone, a core"]
    assert tiny.name == "tiny"
    assert tiny.bound == "the same steps from memory"
    assert 0 < tiny.low <= tiny.value <= tiny.high
    assert all(found.value > 0 for found in alone)
    assert tiny.ceiling
