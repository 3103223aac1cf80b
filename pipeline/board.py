"""What a training run says while it goes on, from its workers to the person at the driver's terminal."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray

Facts = Mapping[str, float]
POLL_S = 0.5


class Board:
    """The latest facts of a run; an actor, since workers and driver may be on different machines."""

    def __init__(self) -> None:
        self._facts: Facts = {}

    def post(self, facts: Facts) -> None:
        """Replaces the facts."""
        self._facts = facts

    def read(self) -> Facts:
        """The facts, empty before the first ones."""
        return self._facts


@contextmanager
def open_board(show: Callable[[Facts], None]) -> Iterator[Any]:
    """A board whose news are shown while the block runs.

    Args:
        show: Called from a thread of its own each time the facts have changed.

    Yields:
        The actor's handle, for workers: `handle.post.remote(facts)` waits for nothing.
    """
    handle: Any = ray.remote(Board).options(num_cpus=0).remote()
    ended = threading.Event()

    def follow() -> None:
        shown: Facts = {}
        while not ended.wait(POLL_S):
            try:
                facts = ray.get(handle.read.remote(), timeout=10 * POLL_S)
            except Exception:  # the run goes on without its line
                continue
            if facts and facts != shown:
                shown = facts
                show(facts)

    thread = threading.Thread(target=follow, name="board", daemon=True)
    thread.start()
    try:
        yield handle
    finally:
        ended.set()
        thread.join()
        ray.kill(handle)
