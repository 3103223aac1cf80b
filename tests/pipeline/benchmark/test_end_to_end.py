"""Training fed by Ray Data is measured beside the same steps fed from memory."""

import pytest

from pipeline.benchmark.end_to_end import end_to_end_rows
from pipeline.benchmark.measure import Setting
from pipeline.synthesis.assets import Assets

# Ray Train sets this on Ray Data by itself.
pytestmark = pytest.mark.filterwarnings("ignore:.*exclude_resources:DeprecationWarning")


def test_the_feed_alone_and_each_network_are_measured(local_ray: None, tiny_assets: str) -> None:
    setting = Setting(rounds=1, seconds=0.05, networks=("tiny",))
    rows = {found.name: found for found in end_to_end_rows(Assets.open(tiny_assets), setting)}
    measured = ("feed alone", "feed alone, a core", "tiny")
    assert list(rows) == [f"{name}, {coding}" for coding in ("jpeg", "raw") for name in measured]
    for coding in ("jpeg", "raw"):
        tiny = rows[f"tiny, {coding}"]
        assert tiny.bound == "the same steps from memory"
        assert 0 < tiny.low <= tiny.value <= tiny.high
        assert tiny.ceiling
        assert all(rows[f"{name}, {coding}"].value > 0 for name in measured)
