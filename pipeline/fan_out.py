"""Many independent tasks on Ray, a bounded number at once, results as they come."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import ray

from pipeline.machine import cluster_resources

Item = TypeVar("Item")
Result = TypeVar("Result")


def fan_out(
    function: Callable[..., Result], items: Iterable[Item], *shared: Any
) -> Iterator[tuple[int, Result]]:
    """Calls function(item, *shared) for each item, on all CPUs of the cluster.

    Args:
        function: Runs in other processes. What it raises ends the iteration.
        items: May have any number: they are taken as results are.
        shared: Sent to the cluster once.

    Yields:
        Place of the item, from 0, and its result; in the order in which they are finished.
    """
    at_once = 2 * max(1, int(cluster_resources().get("CPU", 1)))
    task = ray.remote(function)
    references = [ray.put(value) for value in shared]
    running: dict[Any, int] = {}
    for place, item in enumerate(items):
        running[task.remote(item, *references)] = place
        if len(running) >= at_once:
            yield _next(running)
    while running:
        yield _next(running)


def _next(running: dict[Any, int]) -> tuple[int, Any]:
    done, _ = ray.wait(list(running))
    return running.pop(done[0]), ray.get(done[0])
