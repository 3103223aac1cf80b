"""Ctrl-C and SIGTERM end a job by unwinding it, whoever else handles them too.

Ray replaces the handler of SIGTERM when it starts and that of SIGINT while it trains (it then takes some
seconds to stop its workers), and turns what a handler raises inside `ray.get` into an exit with 1. So the
first signal is remembered apart from what becomes of it.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Unwinding:
    """The signals of one job. Only the process's main thread may make one."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        """The first signal that asked the job to end."""
        self._unwound = False

    def take_over(self) -> None:
        """Puts our handlers in place, again where others replaced them."""
        signal.signal(signal.SIGTERM, self._unwind)
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell's background job
            signal.signal(signal.SIGINT, self._unwind)

    def watch(self, wakeups: int) -> None:
        """Notes arriving signals, others' too, until the pipe they are told by is closed; for a thread."""
        told = False
        while numbers := os.read(wakeups, 64):
            asked = [signal.Signals(n) for n in numbers if n in (signal.SIGTERM, signal.SIGINT)]
            if asked and not told:
                self.received = self.received or asked[0]
                print("\nEnding: keeping what can be kept.", file=sys.stderr)
                told = True

    def _unwind(self, number: int, _frame: FrameType | None) -> None:
        self.received = self.received or signal.Signals(number)
        ending = self._unwound or isinstance(sys.exception(), SystemExit | KeyboardInterrupt)
        if ending and number == signal.SIGTERM:
            return  # must not break the clean-up that has begun; Ctrl-C may, at a person's wish
        self._unwound = True
        raise SystemExit(128 + number)


_jobs: list[Unwinding] = []
"""Of this process, the innermost last."""


@contextmanager
def unwinding() -> Iterator[Unwinding]:
    """SIGTERM and SIGINT raise SystemExit in the main thread, inside the block.

    Elsewhere than in the main thread it does nothing: no signals arrive there.
    """
    job = Unwinding()
    if threading.current_thread() is not threading.main_thread():
        yield job
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    _jobs.append(job)
    descriptor = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    watcher = threading.Thread(target=job.watch, args=(reading,), name="signals", daemon=True)
    watcher.start()
    job.take_over()
    try:
        yield job
    finally:
        signal.set_wakeup_fd(descriptor)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        _jobs.remove(job)
        os.close(writing)
        watcher.join()
        os.close(reading)


def take_over_again() -> None:
    """To be called after others have put their handlers in place."""
    if _jobs:
        _jobs[-1].take_over()
