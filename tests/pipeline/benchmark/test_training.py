"""The feed and the step of training are measured beside their ceilings."""

from pipeline.benchmark.measure import Setting
from pipeline.benchmark.training import feed_rows, step
from pipeline.synthesis.assets import Assets

QUICK = Setting(rounds=1, seconds=1e-3, networks=("tiny",))


def test_the_feed_is_measured_beside_what_bounds_it(tiny_assets: str) -> None:
    rows = {row.name: row for row in feed_rows(Assets.open(tiny_assets), QUICK)}
    for coding in ("jpeg", "png", "raw"):
        assert rows[f"{coding} shard to packs"].bound == "decoding alone"
    sizes = [rows[f"{coding} shard"].value for coding in ("jpeg", "png", "raw")]
    assert sizes == sorted(sizes, reverse=True)
    assert rows["stream to packs"].bound == "drawing alone"
    assert 80 < rows["pixels that aren't padding"].value < 100
    assert all(row.value > 0 for row in rows.values())
    assert len(rows) == 8


def test_steps_are_measured_beside_a_matrix_product() -> None:
    fp32, *others = step(QUICK)  # the others where this machine computes in bf16
    assert fp32.name == "tiny fp32 on 1 CPU"
    assert all(found.name.startswith("tiny bf16") for found in others)
    assert all(found.value > 0 and found.bound == "matrix product" for found in (fp32, *others))
