import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.errors import FencedError, LeaseHeldError
from pipeline.lease import Process, acquire


class Clock:
    """Time that passes only by waiting; something may happen meanwhile."""

    def __init__(self, meanwhile: Callable[[float], None] = lambda now: None) -> None:
        self.now, self.meanwhile = 0.0, meanwhile

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.meanwhile(self.now)


def elsewhere(output: Path, epoch: int) -> None:
    """Lets the holder of an epoch have run on another machine."""
    path = output / f"lease/{epoch:08d}.json"
    record = json.loads(path.read_text()) | {"machine": "another"}
    path.write_text(json.dumps(record))


def test_a_lease_that_was_left_is_taken_at_once_by_the_next_epoch(tmp_path: Path) -> None:
    clock = Clock()
    for epoch in (1, 2, 3):
        with acquire(str(tmp_path), "r", clock=clock, sleep=clock.sleep) as lease:
            lease.check(ask=True)
            assert (lease.epoch, lease.taken_over) == (epoch, False)
    assert clock.now == 0


def test_a_holder_whose_beat_goes_on_keeps_others_out(tmp_path: Path) -> None:
    beats = tmp_path / "lease/00000001.beat"
    lease = acquire(str(tmp_path), "night", silence_s=60)  # it beats when entered
    elsewhere(tmp_path, 1)
    beats.write_text(json.dumps({"left": False, "count": 0}))

    def beat(now: float) -> None:
        if now > 20:
            beats.write_text(json.dumps({"left": False, "count": now}))

    clock = Clock(beat)
    with pytest.raises(LeaseHeldError, match="Run night is at work"):
        acquire(str(tmp_path), "other", silence_s=60, clock=clock, sleep=clock.sleep)
    assert clock.now < 60
    lease.check(ask=True)


def test_a_silent_holder_elsewhere_is_watched_for_the_whole_time_whatever_its_clock_says(
    tmp_path: Path,
) -> None:
    lease = acquire(str(tmp_path), "night", silence_s=60)
    elsewhere(tmp_path, 1)
    for skew in (-3600, 3600):
        beat = tmp_path / "lease/00000001.beat"
        beat.write_text(json.dumps({"left": False, "count": time.time() + skew}))
    clock = Clock()
    following = acquire(str(tmp_path), "other", silence_s=60, clock=clock, sleep=clock.sleep)
    assert clock.now >= 60
    assert (following.epoch, following.taken_over) == (2, True)
    with pytest.raises(FencedError, match="publishes nothing"):
        lease.check(ask=True)


def test_a_holder_that_leaves_while_it_is_watched_is_no_dead_one(tmp_path: Path) -> None:
    acquire(str(tmp_path), "night")
    elsewhere(tmp_path, 1)

    def leave(now: float) -> None:
        (tmp_path / "lease/00000001.beat").write_text(json.dumps({"left": True}))

    clock = Clock(leave)
    following = acquire(str(tmp_path), "other", clock=clock, sleep=clock.sleep)
    assert not following.taken_over


def test_a_holder_killed_on_this_machine_is_followed_at_once(tmp_path: Path) -> None:
    hold = (
        "import sys, time; from pipeline.lease import acquire\n"
        "with acquire(sys.argv[1], 'killed'): print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        holder.send_signal(signal.SIGSTOP)  # neither dead nor beating: it must be watched
        clock = Clock()
        watching = acquire(str(tmp_path), "next", clock=clock, sleep=clock.sleep)
        assert clock.now >= 60
        assert watching.taken_over
        holder.kill()
    with pytest.MonkeyPatch.context() as patch:  # the next sees epoch 2, whose process is this one
        patch.setattr(Process, "is_dead", property(lambda process: process.pid == os.getpid()))
        clock = Clock()
        assert acquire(str(tmp_path), "last", clock=clock, sleep=clock.sleep).epoch == 3
        assert clock.now == 0


def test_a_process_is_not_taken_for_another_of_the_same_number() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        alive = Process.of(child.pid)
        assert not alive.is_dead
        assert Process(machine=alive.machine, pid=child.pid, started="1").is_dead
        assert not Process(machine="another", pid=child.pid, started="1").is_dead
        child.kill()
    assert alive.is_dead


def test_of_several_that_come_at_once_one_gets_the_lease(s3_bucket: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def come(number: int) -> int:
        try:
            return acquire(s3_bucket, f"r{number}", silence_s=0.5).epoch
        except LeaseHeldError:
            return 0

    with ThreadPoolExecutor(6) as pool:
        epochs = sorted(pool.map(come, range(6)))
    held = [epoch for epoch in epochs if epoch]
    assert held
    assert len(held) == len(set(held))


def test_the_renewing_thread_notices_that_another_took_over(tmp_path: Path) -> None:
    with acquire(str(tmp_path), "r", silence_s=0.2) as lease:
        (tmp_path / "lease/00000002.json").write_text("{}")
        lease._thread.join(timeout=20)
        with pytest.raises(FencedError):
            lease.check()
