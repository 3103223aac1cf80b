"""A night over a few files, by a real Ray, beside its recogniser alone."""

import pytest

from pipeline.benchmark.measure import Setting
from pipeline.benchmark.night import night


def test_a_night_is_measured_beside_its_recogniser_alone(
    no_ray: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.benchmark.night._MADE", 24)
    monkeypatch.setattr("pipeline.benchmark.night.available_cpus", lambda: 1)
    (row,) = night(Setting())
    assert row.name.startswith("latin94-small, 24 files, ")
    assert row.value > 0
    assert row.ratio
