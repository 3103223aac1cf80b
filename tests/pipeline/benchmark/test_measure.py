"""Medians, ratios and threads, with a clock that the test winds."""

import subprocess
import sys

import pytest
import torch

from pipeline.benchmark.measure import (
    Rate,
    Setting,
    matrix_flops,
    memory_bytes_per_second,
    rate,
    row,
    torch_threads,
    tree_seconds,
)


class Work:
    """Takes so many seconds a call, by a clock of its own; each call does 10 items."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds, self.now, self.calls = seconds, 0.0, 0

    def __call__(self) -> int:
        self.now += self.seconds[min(self.calls, len(self.seconds) - 1)]
        self.calls += 1
        return 10

    def clock(self) -> float:
        return self.now


def test_the_median_of_the_rounds_counts_and_the_first_call_does_not() -> None:
    work = Work([100.0, 1.0, 2.0, 4.0])
    found = rate(work, Setting(rounds=3, seconds=1.0), work.clock)
    assert found == Rate(median=5.0, low=2.5, high=10.0)


def test_short_work_is_repeated_until_a_round_is_long_enough() -> None:
    work = Work([0.25])
    found = rate(work, Setting(rounds=2, seconds=1.0), work.clock)
    assert work.calls == 1 + 2 * 4
    assert found.median == pytest.approx(40.0)


def test_a_row_says_what_share_of_its_ceiling_is_reached() -> None:
    found = Rate(median=50.0, low=40.0, high=60.0)
    assert row("decode", "x", "words/s", found, ceiling=200.0, bound="memory").ratio == 0.25
    assert row("decode", "x", "words/s", found).ratio is None


def test_threads_are_put_back_whatever_happens_inside() -> None:
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        _ = 1 / 0
    assert torch.get_num_threads() == before


def test_ceilings_are_those_of_a_machine_and_not_of_a_calculator() -> None:
    quick = Setting(rounds=1, seconds=1e-3)
    assert 1e8 < matrix_flops(quick, torch.float32) < 1e16
    assert 1e7 < memory_bytes_per_second(quick) < 1e14


def test_cpu_time_of_processes_below_this_one_counts() -> None:
    work = "import time; t = time.process_time()\nwhile time.process_time() - t < 0.3: pass\nprint(); input()"
    before, pipe = tree_seconds(), subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", work], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during = tree_seconds()
        child.communicate("\n")
    assert during - before >= 0.27  # the kernel counts in hundredths of a second, and cuts them off
    assert tree_seconds() >= during  # also when it has ended
