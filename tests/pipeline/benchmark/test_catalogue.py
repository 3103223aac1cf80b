"""What can be measured says so, and what is measured unasked needs no transcription."""

from pipeline.benchmark.catalogue import STAGES, USUAL


def test_every_stage_says_what_it_measures() -> None:
    assert [name for name, stage in STAGES.items() if not stage.__doc__] == []


def test_all_but_a_night_are_measured_where_none_are_named() -> None:
    assert set(STAGES) - set(USUAL) == {"night"}
    assert list(USUAL) == [name for name in STAGES if name in USUAL]
