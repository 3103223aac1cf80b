"""Who may write below an output: one run at a time, by epochs that only grow.

    lease/<epoch>.json   put-if-absent: whoever creates it holds the lease of this epoch
    lease/<epoch>.beat   overwritten by its holder alone, to show that it lives; tells at last that it left

Nothing but put-if-absent is asked of the store, which local disks have too. Nobody compares clocks: a holder
is taken for dead when its beat hasn't changed for as long as the watcher itself has watched, or at once where
it ran on this machine and its process is gone. A holder that was wrongly taken for dead learns of it by its
next beat, and ends. A night can't do harm even before: whoever takes over writes its own epoch into the
table's log, and a commit of an older epoch is refused there.
"""

import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.errors import FencedError, LeaseHeldError, ObjectNotFoundError, StorageError
from pipeline.storage import create_exclusive, exists, join, list_objects, read_bytes, write_atomic

log = logging.getLogger(__name__)

_EPOCH = re.compile(r"(\d{8})\.json")
BEATS = 4
"""Beats in the time after which silence means death."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Process:
    """A process that can't be mistaken for another, as long as its machine is up."""

    machine: str
    """The machine's boot and the container's processes; empty where the system doesn't tell."""
    pid: int
    started: str

    @classmethod
    def of(cls, pid: int) -> "Process":
        """A living process of this machine."""
        try:
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
            space = str(Path("/proc/self/ns/pid").readlink())
            # The name, in parentheses, may hold spaces: count the fields from behind it.
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            started = fields[19] if fields[0] != "Z" else "dead, its parent hasn't noticed"
        except (OSError, IndexError):
            return cls(machine="", pid=pid, started="")
        return cls(machine=f"{boot} {space}", pid=pid, started=started)

    @property
    def is_dead(self) -> bool:
        """Whether it certainly runs no more; False where that can't be told from here."""
        here = Process.of(os.getpid())
        return bool(self.machine) and self.machine == here.machine and Process.of(self.pid) != self


class Lease:
    """The right to publish below an output, renewed by a thread of its own until it is left.

    Args:
        output_uri: What it is for.
        epoch: Ours.
        silence_s: Seconds without a beat after which others may take over.
        taken_over: Whether the holder before didn't leave it of its own accord.
    """

    def __init__(self, output_uri: str, epoch: int, *, silence_s: float, taken_over: bool) -> None:
        self.epoch, self.taken_over = epoch, taken_over
        self._folder = join(output_uri, "lease")
        self._silence_s = silence_s
        self._lost, self._left = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def check(self, *, ask: bool = False) -> None:
        """Refuses to go on where somebody else has taken over.

        Args:
            ask: Look now, rather than rely on the last look of the renewing thread.

        Raises:
            FencedError: Somebody has.
            StorageError: It can't be told.
        """
        if self._lost.is_set() or (ask and exists(_epoch_uri(self._folder, self.epoch + 1))):
            raise FencedError(
                f"Another run took over from {_epoch_uri(self._folder, self.epoch)}: this one was silent for "
                f"{self._silence_s:g} s. It publishes nothing more; what it had saved is the other's."
            )

    def __enter__(self) -> "Lease":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()
        try:
            _beat(self._folder, self.epoch, left=True)
        except StorageError as failure:
            log.warning("The lease stays until it runs out: %s", failure)

    def _renew(self) -> None:
        while not self._left.is_set():
            try:
                if exists(_epoch_uri(self._folder, self.epoch + 1)):
                    self._lost.set()
                    log.warning("Another run took over from %s", _epoch_uri(self._folder, self.epoch))
                    return
                _beat(self._folder, self.epoch)
            except StorageError as error:
                log.warning("Can't renew the lease yet: %s", error)
            self._left.wait(self._silence_s / BEATS)


def acquire(
    output_uri: str,
    run: str,
    *,
    silence_s: float = 60.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Lease:
    """Takes the lease; waits up to `silence_s` to see whether a holder that doesn't tell is alive.

    Args:
        output_uri: What it is for.
        run: Whose name the holder is known by.
        silence_s: Seconds without a beat after which a holder is taken for dead; the same for all.
        clock: Seconds that only go up.
        sleep: Waits for some seconds.

    Raises:
        LeaseHeldError: Another run is at work, or was faster.
        StorageError: It can't be told.
    """
    folder = join(output_uri, "lease")
    last, taken_over = _last_epoch(folder), False
    if last:
        taken_over = not _has_left(folder, last, silence_s, clock, sleep)
    record = {"run": run, **asdict(Process.of(os.getpid()))}
    if not create_exclusive(_epoch_uri(folder, last + 1), json.dumps(record).encode()):
        raise LeaseHeldError(_held(folder, last + 1))
    return Lease(output_uri, last + 1, silence_s=silence_s, taken_over=taken_over)


def _has_left(
    folder: str, epoch: int, silence_s: float, clock: Callable[[], float], sleep: Callable[[float], None]
) -> bool:
    """True where a holder left the lease, False where it is dead; raises where it lives."""
    holder, beat = json.loads(read_bytes(_epoch_uri(folder, epoch))), _read_beat(folder, epoch)
    if beat.get("left"):
        return True
    if Process(machine=holder["machine"], pid=holder["pid"], started=holder["started"]).is_dead:
        return False
    end = clock() + silence_s
    while clock() < end:
        sleep(silence_s / (2 * BEATS))
        now = _read_beat(folder, epoch)
        if now.get("left"):
            return True
        if now != beat:
            raise LeaseHeldError(_held(folder, epoch))
    return False


def _held(folder: str, epoch: int) -> str:
    holder = json.loads(read_bytes(_epoch_uri(folder, epoch)))
    return (
        f"Run {holder['run']} is at work here (process {holder['pid']}, lease {_epoch_uri(folder, epoch)}). "
        "Let it end; then run the same again."
    )


def _last_epoch(folder: str) -> int:
    try:
        found = [_EPOCH.fullmatch(stored.key) for stored in list_objects(folder)]
    except ObjectNotFoundError:  # a folder on a disk begins with its first file
        return 0
    return max((int(match[1]) for match in found if match), default=0)


def _epoch_uri(folder: str, epoch: int) -> str:
    return join(folder, f"{epoch:08d}.json")


def _beat_uri(folder: str, epoch: int) -> str:
    return join(folder, f"{epoch:08d}.beat")


def _beat(folder: str, epoch: int, *, left: bool = False) -> None:
    beat = {"left": left, "count": time.monotonic_ns()}  # any number that the last beat didn't have
    write_atomic(_beat_uri(folder, epoch), json.dumps(beat).encode())


def _read_beat(folder: str, epoch: int) -> dict[str, Any]:
    try:
        beat: dict[str, Any] = json.loads(read_bytes(_beat_uri(folder, epoch)))
    except ObjectNotFoundError:  # the holder has only just come
        return {}
    return beat
