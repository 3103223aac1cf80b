"""The last night's pace is taken from its report, and no report that can't be read holds a night up."""

from itertools import product
from pathlib import Path

import pytest

from pipeline.nightly.pace import Pace, last_pace, shard_rows, steady
from pipeline.nightly.table import TranscriptTable
from tests.pipeline.nightly.test_table import nothing, put, row


@pytest.mark.parametrize("record", ["", "{", "[]", "null", "{}", '{"recogniser": 3}'])
def test_a_report_that_tells_no_pace_is_none(tmp_path: Path, record: str) -> None:
    table = TranscriptTable(str(tmp_path))
    table.publish("night", [put(table, "night", row("a"))], epoch=1, publication=1, check=nothing)
    (tmp_path / "runs/night").mkdir(parents=True, exist_ok=True)
    (tmp_path / "runs/night/report.json").write_text(record)
    assert last_pace(table, str(tmp_path)) is None


@pytest.mark.parametrize(
    ("recogniser", "rows"), [(None, 2_048), (0.1, 256), (10, 450), (300, 13_500), (1e5, 16_384)]
)
def test_a_shard_is_most_of_a_minute_within_bounds(recogniser: float | None, rows: int) -> None:
    assert shard_rows(Pace(run="r", images_per_second=None, recogniser=recogniser)) == rows


def test_steady_is_the_rate_of_recognisers_that_take_turns_wherever_the_run_begins() -> None:
    assert steady([], 1) == steady([(1.0, 10)], 1) == (0, 0.0)
    for recognisers, rounds, apart in product((1, 2, 3, 8), (3, 5, 8), (0.0, 0.05, 1.0)):
        # Of a shard's second: in step, nearly so, or evenly in turns.
        ends = sorted(
            9.0 + shard + apart * place / recognisers
            for place in range(recognisers)
            for shard in range(rounds)
        )
        done = [(when, 100 * (n + 1)) for n, when in enumerate(ends)]
        images, seconds = steady(done, recognisers)
        assert images / seconds == pytest.approx(100 * recognisers, rel=1e-9)
    assert steady([(1.0, 5), (2.0, 9), (3.0, 14), (4.0, 19)], 2) == (0, 0.0)
