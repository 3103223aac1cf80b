"""The feed and the step of training are measured beside their ceilings."""

from pipeline.benchmark.measure import Setting
from pipeline.benchmark.training import feed_rows, step
from pipeline.synthesis.assets import Assets

QUICK = Setting(rounds=1, seconds=1e-3, networks=("tiny",))


def test_the_feed_is_measured_beside_decoding_alone(tiny_assets: str) -> None:
    jpeg, raw = feed_rows(Assets.open(tiny_assets), QUICK)
    assert (jpeg.name, raw.name) == ("jpeg shard to packs", "raw shard to packs")
    assert all(found.value > 0 and found.bound == "decoding alone" for found in (jpeg, raw))


def test_steps_are_measured_beside_a_matrix_product() -> None:
    (found,) = step(QUICK)
    assert found.name == "tiny fp32 on 1 CPU"
    assert found.value > 0
    assert found.bound == "matrix product"
