"""MLflow beside a job: buffered, in the background, never in the way.

What a job keeps in files of its own, such as checkpoints, is the truth; MLflow shows it. Points carry their
own timestamps and MLflow drops exact duplicates, so that sending a history again after a crash changes
nothing. Where the server is gone the job goes on, what it says is kept in memory, and sent when the server is
back.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.errors import ConfigError
from pipeline.mlflow_run import (
    MAX_METRICS,
    DataInput,
    MetricPoint,
    MlflowRun,
    RunDetails,
    RunStatus,
    check_name,
    find_run,
    flatten,
    mlflow_client,
    open_run,
    resolve_tracking_uri,
)

__all__ = ["DataInput", "MetricPoint", "Tracker", "TrackerConfig", "flatten", "resolve_tracking_uri"]

FIRST_DELAY_S, LONGEST_DELAY_S, CLOSING_DELAY_S = 1.0, 30.0, 0.5
REFUSED = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "INVALID_STATE")
"""Error codes of requests that will be refused however often they are sent."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrackerConfig:
    """Where a run is tracked. May be pickled and opened in any process.

    Raises:
        ConfigError: The URI depends on the process's folder, or a name can't be used.
    """

    tracking_uri: str
    """As `resolve_tracking_uri` gives it."""
    experiment: str
    run_name: str
    """Identifies the run within its experiment: the same name is the same run."""
    remedy: str = "Start the same again when MLflow answers, and they are sent."
    """Where entries that couldn't be sent are found, and what sends them: the end of the warning."""

    def __post_init__(self) -> None:
        if resolve_tracking_uri(self.tracking_uri) != self.tracking_uri:
            raise ConfigError(
                f"The tracking URI {self.tracking_uri} means another place in another process; "
                "pass it through resolve_tracking_uri first."
            )
        for name in (self.experiment, self.run_name):
            check_name(name)


class _NotOpenedYetError(Exception):
    """The run will be made by another process."""


class Tracker:
    """Writes to the run that its config names. One that was not told to open it waits until another did.

    No method but `flush`, `finish` and `run_id` waits for anything, and none raises for the server's sake.
    """

    def __init__(self, config: TrackerConfig) -> None:
        self.config = config
        self._changed = threading.Condition()
        self._points: deque[MetricPoint] = deque()
        self._known: set[MetricPoint] = set()
        self._tasks: deque[Callable[[MlflowRun], None]] = deque()
        self._details: RunDetails | None = None
        self._client: Any = None
        self._run: MlflowRun | None = None
        self._writer: threading.Thread | None = None
        self._hurry = self._stop = self._in_trouble = False

    def open_run(
        self,
        *,
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        inputs: Sequence[DataInput] = (),
        start_ms: int | None = None,
    ) -> None:
        """Makes the run, or takes it up again. Called by one process only: the driver.

        Args:
            params: See `flatten`. What an earlier start logged stays; what differs now becomes a tag.
            tags: Such as `provenance.tags()`.
            inputs: The data sets that are read.
            start_ms: See `RunDetails`.
        """
        self._details = RunDetails(
            params=dict(params or {}), tags=dict(tags or {}), inputs=tuple(inputs), start_ms=start_ms
        )
        self._do(lambda _run: None)

    def log_points(self, points: Iterable[MetricPoint]) -> None:
        """Sends points, less those that were given to this tracker before."""
        with self._changed:
            new = [point for point in points if point not in self._known]
            self._known.update(new)
            self._points.extend(new)
            self._wake()

    def log_picture(self, key: str, step: int, png: bytes) -> None:
        """Sends a picture of the slider `key`, unless that has one at this step."""
        self._do(lambda run: run.send_picture(key, step, png))

    def log_text(self, path: str, text: str) -> None:
        """Sends a text as the artifact `path`, in place of an earlier one."""
        self._do(lambda run: run.send_text(path, text))

    def log_table(self, path: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Sends columns as the artifact `path` (.json), in place of an earlier one."""
        self._do(lambda run: run.send_table(path, columns))

    def run_id(self, deadline_s: float = 0.0) -> str | None:
        """MLflow's id of the run; None where it couldn't be opened in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._run is not None, timeout=deadline_s)
            return self._run.run_id if self._run else None

    def flush(self, deadline_s: float = 30.0) -> int:
        """Waits until everything is sent, at most so many seconds; returns how much is not."""
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._unsent(), timeout=deadline_s)
            self._hurry = False
            return self._unsent()

    def finish(self, status: RunStatus, deadline_s: float = 30.0) -> int:
        """Ends the run and this tracker; says so where something couldn't be sent, and returns how much."""
        if self._stop:
            return self._unsent()
        self._do(lambda run: run.end(status))
        unsent = self.flush(deadline_s)
        with self._changed:
            self._stop = True
            self._changed.notify_all()
            points, others = len(self._points), len(self._tasks)
        if unsent:
            log.warning(
                "MLflow at %s didn't answer: %d points and %d other entries of run %s are not there. %s",
                self.config.tracking_uri,
                points,
                others,
                self.config.run_name,
                self.config.remedy,
            )
        return unsent

    def _do(self, task: Callable[[MlflowRun], None]) -> None:
        with self._changed:
            self._tasks.append(task)
            self._wake()

    def _wake(self) -> None:
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="mlflow-writer", daemon=True)
            self._writer.start()
        self._changed.notify_all()

    def _unsent(self) -> int:
        return len(self._points) + len(self._tasks)

    def _write(self) -> None:
        delay = FIRST_DELAY_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stop or self._unsent())
                if self._stop:
                    return
            try:
                self._send_some()
                delay = FIRST_DELAY_S
            except Exception as error:
                self._told_of(error)
                with self._changed:
                    # A flush that begins while we wait must not wait for the end of a long pause.
                    if self._changed.wait_for(lambda: self._stop or self._hurry, timeout=delay):
                        self._changed.wait_for(lambda: self._stop, timeout=CLOSING_DELAY_S)
                delay = min(2 * delay, LONGEST_DELAY_S)

    def _send_some(self) -> None:
        run = self._run or self._open()
        with self._changed:
            points = [self._points[i] for i in range(min(len(self._points), MAX_METRICS))]
            task = self._tasks[0] if self._tasks and not points else None
        try:
            if points:
                _send_points(run, points)
            if task and not _taken(run, lambda: task(run)):
                log.warning("MLflow refuses an entry of run %s; it is left out.", self.config.run_name)
        except Exception as error:
            if getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST":
                self._forget_run()
            raise
        with self._changed:
            for _ in points:
                self._points.popleft()
            if task:
                self._tasks.popleft()
            if self._in_trouble:
                log.info("MLflow answers again; %d entries to go.", self._unsent())
                self._in_trouble = False
            self._changed.notify_all()

    def _forget_run(self) -> None:
        """The server has lost the run, and all that it was sent: begin again."""
        with self._changed:
            self._run = None
            self._points = deque(self._known)

    def _open(self) -> MlflowRun:
        config = self.config
        self._client = self._client or mlflow_client(config.tracking_uri)
        if self._details is not None:
            run = open_run(
                self._client, config.tracking_uri, config.experiment, config.run_name, self._details
            )
        else:
            found = find_run(self._client, config.experiment, config.run_name)
            if found is None:
                raise _NotOpenedYetError
            run = MlflowRun(self._client, found.info.run_id)
        with self._changed:
            self._run = run
            self._changed.notify_all()
        return run

    def _told_of(self, error: Exception) -> None:
        if self._in_trouble or isinstance(error, _NotOpenedYetError):
            return
        self._in_trouble = True
        log.warning(
            "MLflow at %s doesn't take what the run says (%s). The job goes on; %d entries wait and are sent "
            "when it does.",
            self.config.tracking_uri,
            str(error).partition("\n")[0][:300],
            self._unsent(),
        )


def _send_points(run: MlflowRun, points: Sequence[MetricPoint]) -> None:
    """Sends what MLflow takes; one bad point must not hold up those beside it."""
    if not _taken(run, lambda: run.send_points(points)):
        if len(points) == 1:
            log.warning("MLflow refuses %s; it is left out.", points[0])
        for half in (points[: len(points) // 2], points[len(points) // 2 :]) if len(points) > 1 else ():
            _send_points(run, half)


def _taken(run: MlflowRun, send: Callable[[], None]) -> bool:
    """Sends; False where it was refused and would be the next time too."""
    try:
        send()
    except Exception as error:
        code = getattr(error, "error_code", None)
        if code not in REFUSED and not isinstance(error, TypeError | ValueError):
            raise
        run.check_active()  # a deleted run refuses everything, until it is restored
        log.debug("MLflow refuses an entry", exc_info=error)
        return False
    return True
