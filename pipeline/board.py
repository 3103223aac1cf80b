"""What a training run says while it goes on, from its workers to the person at the driver's terminal, and
the one thing said to them: to stop."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

Facts = Mapping[str, float]
POLL_S = 0.5
ASK_S = 1.0


class Board:
    """The latest facts of a run; an actor, since workers and driver may be on different machines."""

    def __init__(self) -> None:
        self._facts: Facts = {}
        self._stopping = False
        self._given_up: tuple[int, list[str]] | None = None

    def post(self, facts: Facts) -> None:
        """Replaces the facts."""
        self._facts = facts

    def read(self) -> Facts:
        """The facts, empty before the first ones."""
        return self._facts

    def give_up(self, step: int, ids: list[str]) -> None:
        """Notes that the run can't go on after `step`, and for images with these ids."""
        before = self._given_up[1] if self._given_up else []
        self._given_up = (step, before + ids)

    def given_up(self) -> tuple[int, list[str]] | None:
        """What `give_up` was told by all workers; None where the run goes on."""
        return self._given_up

    def stop(self) -> None:
        """Asks the workers to save and end."""
        self._stopping = True

    def is_stopping(self) -> bool:
        """Whether they are asked to."""
        return self._stopping


class StopSign:
    """A worker's view of the board: whether to stop, asked about once a second and never waited for.

    Args:
        board: The actor's handle.
    """

    def __init__(self, board: Any) -> None:
        self._board = board
        self._answer: Any = None
        self._up, self._next = False, 0.0

    def is_up(self) -> bool:
        """Whether the run is to stop, as far as is known. Never raises: a board that is gone stops nobody."""
        now = time.monotonic()
        if self._up or now < self._next:
            return self._up
        self._next = now + ASK_S
        self._answer = self._answer or self._board.is_stopping.remote()
        if ray.wait([self._answer], timeout=0)[0]:
            with contextlib.suppress(ray.exceptions.RayError):
                self._up = ray.get(self._answer)
            self._answer = None
        return self._up


@contextmanager
def open_board(show: Callable[[Facts], None]) -> Iterator[Any]:
    """A board whose news are shown while the block runs.

    Args:
        show: Called from a thread of its own each time the facts have changed.

    Yields:
        The actor's handle, for workers: `handle.post.remote(facts)` waits for nothing.
    """
    # With the driver, whose end is the run's in any case: another node may die while the run goes on.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    handle: Any = ray.remote(Board).options(num_cpus=0, scheduling_strategy=here).remote()
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
