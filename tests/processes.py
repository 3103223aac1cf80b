"""Finding and killing what Ray has started below this process."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path


def descendants(pid: int) -> dict[int, str]:
    """Command lines of all processes below `pid`, by their ids."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            commands[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
            parents[int(folder.name)] = int(stat[1])
        except OSError:  # it has ended meanwhile
            continue
    found = {pid}
    while new := {child for child, parent in parents.items() if parent in found} - found:
        found |= new
    return {child: commands[child] for child in found - {pid} if child in commands}


def kill_when(ready: Callable[[], bool], title: str, *, killed: list[int], patience_s: float = 400.0) -> None:
    """Waits until `ready`, then kills without warning every process below this one with `title` in its name.

    Args:
        killed: Gets the ids of what was killed; stays empty where the time ran out.
    """
    deadline = time.monotonic() + patience_s
    while not ready():
        if time.monotonic() > deadline:
            return
        time.sleep(0.05)
    for pid, command in descendants(os.getpid()).items():
        if title in command:
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
