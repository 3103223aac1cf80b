"""Who is asked to end waits for what was asked to save, and not for ever."""

import signal
import threading
from collections.abc import Iterator
from types import FrameType

import pytest

from pipeline.errors import FencedError
from pipeline.grace import run_with_grace


@pytest.fixture(autouse=True)
def unwinding() -> Iterator[None]:
    """SIGTERM raises, as jobs make it."""

    def unwind(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    handler = signal.signal(signal.SIGTERM, unwind)
    yield
    signal.signal(signal.SIGTERM, handler)


def send() -> None:
    """Reaches the thread that calls, as a process's signals may reach any; the main thread must notice."""
    signal.raise_signal(signal.SIGTERM)


def test_what_the_run_returns_or_raises_is_handed_on() -> None:
    assert run_with_grace(lambda: 7, lambda: None, 1.0) == 7
    with pytest.raises(ZeroDivisionError):
        run_with_grace(lambda: 1 // 0, lambda: None, 1.0)


def test_a_run_that_is_asked_to_end_has_saved_before_the_job_unwinds() -> None:
    asked, saved = threading.Event(), threading.Event()

    def run() -> None:
        send()
        assert asked.wait(60)
        saved.set()

    with pytest.raises(SystemExit, match="143"):
        run_with_grace(run, asked.set, 60.0)
    assert saved.is_set()


def test_a_run_that_does_not_end_is_left_behind() -> None:
    never = threading.Event()

    def run() -> None:
        send()
        never.wait(60)

    def ask() -> None:
        raise ConnectionError("the board is gone")

    for refuse in (ask, lambda: None):
        with pytest.raises(SystemExit, match="143"):
            run_with_grace(run, refuse, 0.1)
    never.set()


def test_a_second_signal_ends_the_waiting() -> None:
    never = threading.Event()

    def run() -> None:
        send()
        never.wait(60)

    with pytest.raises(SystemExit, match="143"):
        run_with_grace(run, send, 60.0)
    never.set()


def test_what_the_check_finds_goes_on_at_once_and_asks_for_nothing() -> None:
    never, asked, looks = threading.Event(), threading.Event(), iter([None, None, FencedError("another's")])

    def check() -> None:
        if error := next(looks):
            raise error

    with pytest.raises(FencedError):
        run_with_grace(lambda: never.wait(60), asked.set, 60.0, check)
    assert not asked.is_set()
    never.set()
