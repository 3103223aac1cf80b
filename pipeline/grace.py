"""A run that is asked to end gets the time to save."""

import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.2


def run_with_grace(
    run: Callable[[], T], ask: Callable[[], None], grace_s: float, check: Callable[[], None] = lambda: None
) -> T:
    """What `run` returns; it runs in a thread of its own, so that signals find this one waiting and free.

    Where SystemExit or KeyboardInterrupt reaches the waiting thread, `ask` is called, and the exception goes
    on when the run has ended, or after `grace_s` seconds. One that comes meanwhile goes on at once.

    Args:
        run: Blocks until all is done; what it raises is raised here.
        ask: Asks it to end soon; may raise, as it asks processes that may be gone.
        grace_s: How long it may take.
        check: Called a few times a second; what it raises goes on at once, and nobody is asked for anything.
    """
    outcome: Future[T] = Future()

    def body() -> None:
        try:
            outcome.set_result(run())
        except BaseException as error:
            outcome.set_exception(error)

    try:
        threading.Thread(target=body, name="run", daemon=True).start()
        while not wait([outcome], timeout=POLL_S).done:  # a signal that another thread got wakes nobody
            check()
        return outcome.result()
    except (SystemExit, KeyboardInterrupt):
        if not outcome.done():
            with contextlib.suppress(Exception):
                ask()
                outcome.exception(timeout=grace_s)
        raise
