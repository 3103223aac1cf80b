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
    fp32, *others = step(QUICK)  # the others where this machine computes in bf16
    assert fp32.name == "tiny fp32 on 1 CPU"
    assert all(found.name.startswith("tiny bf16") for found in others)
    assert all(found.value > 0 and found.bound == "matrix product" for found in (fp32, *others))
