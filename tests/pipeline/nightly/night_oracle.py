"""Nights by order, a reader beside them, and the oracle that tells whether all ended as it must."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.listing import read_listing
from pipeline.nightly.table import TranscriptTable

MUTATING = "PUT|POST|DELETE"


class Nights:
    """A process that forks nights."""

    def __init__(self, environment: dict[str, str]) -> None:
        root = Path(__file__).resolve().parents[3]
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("nights.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment | {"PYTHONPATH": str(root), "STORAGE_PATIENCE_S": "3"},
        )
        self._ended: dict[int, int] = {}

    def prepare(self, **config: Any) -> int:
        """The process of a night that waits for `go`."""
        self._order(config)
        return int(self._answer("code", wanted=False)["pid"])

    def go(self, pid: int) -> None:
        self._order({"go": pid})

    def wait(self, pid: int) -> int:
        """The exit code of a night."""
        while pid not in self._ended:
            answer = self._answer("code", wanted=True)
            self._ended[answer["pid"]] = answer["code"]
        return self._ended.pop(pid)

    def run(self, **config: Any) -> int:
        pid = self.prepare(**config)
        self.go(pid)
        return self.wait(pid)

    def _order(self, order: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()

    def _answer(self, field: str, *, wanted: bool) -> dict[str, int]:
        assert self._process.stdout is not None
        while True:
            answer: dict[str, int] = json.loads(self._process.stdout.readline())
            if (field in answer) == wanted:
                return answer
            self._ended[answer["pid"]] = answer["code"]

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


class Watcher:
    """A reader that polls the table and keeps how many rows of each run it saw."""

    def __init__(self, output: str) -> None:
        self.seen: set[tuple[str, int]] = set()
        self._table, self._over = TranscriptTable(output), threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> "Watcher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._over.is_set():
            rows = self._table.rows()
            if rows is not None:
                runs = rows.to_table(columns=["run"])["run"].to_pylist()
                self.seen |= {(run, runs.count(run)) for run in runs}
            time.sleep(0.02)


def published(config: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """(status, reason, text) by key, and box where it is one of a page; ids are unique."""
    rows = TranscriptTable(config["output"]).rows()
    assert rows is not None
    table = rows.to_table()
    found = {
        f"{r['key']} {r['member']}" if r["box"] else r["key"]: (r["status"], r["reason"], r["text"])
        for r in table.to_pylist()
    }
    ids = table["id"].to_pylist()
    assert len(ids) == len(set(ids))
    return found


def is_exact(config: dict[str, Any], clean: dict[str, tuple[Any, ...]]) -> bool:
    """Whether one run and nothing else is there, as it should be."""
    rows = TranscriptTable(config["output"]).rows()
    assert rows is not None
    listing = read_listing(f"{config['output']}/runs/{config['run']}")
    count = rows.count_rows()
    return bool(count == listing.rows == len(clean) and published(config) == clean)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def kill_at(nights: Nights, s3_server: Any, config: dict[str, Any], number: int, when: str) -> int:
    """Kills a night as its mutating request of this number, from 0, arrives or has taken effect."""
    pid = nights.prepare(**config)
    path = f"/{config['output'].removeprefix('s3://')}/"
    s3_server.order({"kind": when, "method": MUTATING, "path": path, "skip": number, "times": 1, "pid": pid})
    nights.go(pid)
    code = nights.wait(pid)
    s3_server.order()
    return code


def kill_points(
    nights: Nights, s3_server: Any, place: dict[str, Any], clean: Any, numbers: list[int]
) -> None:
    """Kills nights before and after each of these mutating requests, and starts each once more."""
    killed = 0
    for when in ("kill_before", "kill_after"):
        for number in numbers:
            config = place | {"output": f"{place['output']}-{when}-{number}"}
            with Watcher(config["output"]) as watcher:
                killed += kill_at(nights, s3_server, config, number, when) == -signal.SIGKILL
                assert nights.run(**config) == 0, (when, number)
            assert is_exact(config, clean), (when, number)
            assert watcher.seen <= {("night", len(clean))}, (when, number)
    assert killed == 2 * len(numbers)
