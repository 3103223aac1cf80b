"""Tasks over a cluster: every result once, a bounded number in flight, an error ends it."""

import os
import signal
from collections.abc import Iterator

import pytest

from pipeline.errors import DataError, LostTaskError
from pipeline.fan_out import fan_out


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


def scaled(item: int, factor: int) -> int:
    if item < 0:
        raise DataError(f"{item} is negative")
    return item * factor


def test_each_item_gives_its_result_once_under_its_place() -> None:
    assert dict(fan_out(scaled, range(10, 30), 3, named=str)) == {i: 3 * (10 + i) for i in range(20)}


def test_items_are_taken_only_as_results_are() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield i

    results = fan_out(scaled, items(), 1, named=str)
    next(results)
    assert taken == 8  # twice the cluster's CPUs


def test_what_a_task_raises_ends_the_iteration() -> None:
    with pytest.raises(DataError, match="-1 is negative"):
        list(fan_out(scaled, [1, -1, 2], 1, named=str))


def test_a_task_that_its_processes_die_of_is_named() -> None:
    def die(item: int) -> None:
        if item == 8:
            os.kill(os.getpid(), signal.SIGBUS)

    with pytest.raises(LostTaskError, match=r"worked at number 8 died, each time"):
        list(fan_out(die, [7, 8, 9], named=lambda item: f"number {item}"))
