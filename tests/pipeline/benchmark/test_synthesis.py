from pipeline.benchmark.measure import Setting
from pipeline.benchmark.synthesis import synthesis_rows
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.presets import PRESETS

QUICK = Setting(rounds=1, seconds=1e-3)


def test_presets_stages_and_processes_are_measured(tiny_assets: str) -> None:
    rows = list(synthesis_rows(Assets.open(tiny_assets), QUICK))
    names = [row.name for row in rows]
    assert names[:3] == list(PRESETS)
    assert names[-3:-1] == ["scene, JPEG alone", "scene in two processes"]
    assert len(set(names)) == len(names) == 12
    assert all(row.value > 0 for row in rows)
    assert [row.unit for row in rows] == [*["images/s"] * 11, "starts/s"]
    assert all(row.ratio is not None and row.ratio < 1 for row in rows[:3])
