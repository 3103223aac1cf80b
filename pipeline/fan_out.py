"""Many independent tasks on Ray, a bounded number at once, results as they come."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import ray

from pipeline.errors import LostTaskError
from pipeline.machine import cluster_resources

_FEWEST = 4
"""CPUs that are reckoned with at least: a cluster may have none before it is asked for some."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def fan_out(
    function: Callable[..., Result], items: Iterable[Item], *shared: Any, named: Callable[[Item], str]
) -> Iterator[tuple[int, Result]]:
    """Calls function(item, *shared) for each item, on all CPUs that the cluster has or starts for it.

    Args:
        function: Runs in other processes. What it raises ends the iteration.
        items: May have any number: they are taken as results are.
        shared: Sent to the cluster once.
        named: What people call an item, for the error.

    Yields:
        Place of the item, from 0, and its result; in the order in which they are finished.

    Raises:
        LostTaskError: No process outlived an item.
    """
    task = ray.remote(function)
    references = [ray.put(value) for value in shared]
    running: dict[Any, tuple[int, Item]] = {}

    def next_result() -> tuple[int, Result]:
        (done, *_), _ = ray.wait(list(running))
        place, item = running.pop(done)
        try:
            return place, ray.get(done)
        except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError) as error:
            raise LostTaskError(
                f"The processes that worked at {named(item)} died, each time it was tried. Too little memory "
                "does that (the machine's log, dmesg, tells of it), and so does a damaged file where one is "
                "read: fetch it again."
            ) from error

    for place, item in enumerate(items):
        running[task.remote(item, *references)] = place, item
        while len(running) >= _at_once():
            yield next_result()
    while running:
        yield next_result()


def _at_once() -> int:
    """Tasks that are worth handing over by now: what waits in vain makes an idle cluster start machines."""
    return 2 * max(_FEWEST, int(cluster_resources().get("CPU", 0)))
