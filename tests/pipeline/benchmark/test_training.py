"""The feed and the step of training are measured below their ceilings."""

from pipeline.benchmark.measure import Setting
from pipeline.benchmark.training import feed_rows, step
from pipeline.synthesis.assets import Assets

QUICK = Setting(rounds=1, seconds=1e-3, networks=("tiny",))


def test_the_feed_is_measured_beside_decoding_alone(tiny_assets: str) -> None:
    jpeg, raw = feed_rows(Assets.open(tiny_assets), QUICK)
    assert (jpeg.name, raw.name) == ("jpeg shard to packs", "raw shard to packs")
    assert jpeg.ratio is not None
    assert 0 < jpeg.ratio < 1
    assert raw.value > jpeg.value


def test_steps_are_measured_beside_a_matrix_product() -> None:
    (found,) = step(QUICK)
    assert found.name == "tiny fp32 on 1 CPU"
    assert found.ratio is not None
    assert 0 < found.ratio < 1
