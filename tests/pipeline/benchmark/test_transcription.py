"""From files to rows is measured beside the recogniser alone."""

from pipeline.benchmark.measure import Setting
from pipeline.benchmark.transcription import transcription


def test_files_become_rows_beside_the_recogniser_alone() -> None:
    (row,) = transcription(Setting(rounds=1, seconds=1e-3, networks=("small",)))
    assert row.name == "small fp32 on 1 CPU"
    assert row.value > 0
    assert row.ratio
