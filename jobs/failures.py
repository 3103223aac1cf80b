"""How a job ends badly: exit codes, and the cause told in a few lines instead of an actor's trace."""

import re
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from tempfile import NamedTemporaryFile

from crnn.errors import CharsetError, CRNNError, ModelConfigError
from pipeline.errors import (
    ConfigError,
    FencedError,
    LeaseHeldError,
    ModelNotFoundError,
    PipelineError,
    UnpublishedError,
)


class ExitCode(IntEnum):
    """How a job ended, for schedulers and shells."""

    OK = 0
    """All done."""
    FAILED = 1
    """Anything that isn't below; trying again may help."""
    BAD_CONFIG = 2
    """The command line or configuration can't work; trying again won't help."""
    INCOMPLETE = 3
    """Ended in order, but some of the work is missing or over its error budget."""
    LEASE_HELD = 75
    """Another run is at work on the same output; trying again later helps."""
    FENCED = 76
    """Another run took over this one's output, and this one published nothing."""
    INTERRUPTED = 130
    """Ctrl-C; what could be kept was kept."""
    TERMINATED = 143
    """SIGTERM; what could be kept was kept."""


class IncompleteError(Exception):
    """The job ended in order with some of its work undone; exit code 3."""


OUR_ERRORS = (IncompleteError, PipelineError, CRNNError)
BAD_CONFIG = (ConfigError, ModelNotFoundError, ModelConfigError, CharsetError)
FRAME = re.compile(r'File "[^"]*?((?:crnn|pipeline|jobs)/(?!runtime)[\w/]+\.py)", line (\d+), in (\w+)')
RAISED = re.compile(r"^(?!ray\.)([A-Za-z_][\w.]*(?:Error|Exception)): (.+)$", re.MULTILINE)
ADVICE = (
    ("OutOfMemory", "Lower the batch size or the number of workers, or give the machine more memory."),
    ("No space left on device", "Free some disk space, or set the output to another disk."),
    ("Insufficient", "Ask for fewer workers, or for no more than `ray status` shows."),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cause:
    """What went wrong first, out of all that was wrapped around it."""

    name: str
    """Of its class, such as pipeline.errors.DataError or ValueError."""
    message: str
    place: str | None
    """The innermost frame of our own code, where there is one."""

    @property
    def ours(self) -> bool:
        """Whether the message was written for the person who reads it."""
        return issubclass(self._kind, OUR_ERRORS)

    @property
    def code(self) -> ExitCode:
        """How the job ended."""
        if issubclass(self._kind, BAD_CONFIG):
            return ExitCode.BAD_CONFIG
        if issubclass(self._kind, LeaseHeldError | FencedError):
            return ExitCode.LEASE_HELD if issubclass(self._kind, LeaseHeldError) else ExitCode.FENCED
        return (
            ExitCode.INCOMPLETE
            if issubclass(self._kind, IncompleteError | UnpublishedError)
            else ExitCode.FAILED
        )

    @property
    def _kind(self) -> type:
        module, _, attribute = self.name.rpartition(".")
        kind = getattr(sys.modules.get(module), attribute, None)
        return kind if isinstance(kind, type) else Exception


def explain(cause: Cause) -> str:
    """A few lines for a person: what, where in our code, what to do."""
    if cause.ours:
        return f"error: {cause.message}"
    told = f"{cause.name}: {cause.message}"
    lines = ["error: " + (told if len(told) <= 1200 else told[:1200] + " …")]
    if cause.place:
        lines.append(f"  in {cause.place}")
    return "\n".join(lines + [f"  {advice}" for sign, advice in ADVICE if sign in told])


def find_cause(error: BaseException) -> Cause:
    """Digs through what Ray and `raise from` wrap around an error, down to what a worker raised first."""
    chain = list(_unwrapped(error))
    innermost = chain[-1]
    name, message = _class_name(type(innermost)), str(innermost).strip()
    if name.startswith("ray."):
        # Ray Data's and dead actors' errors carry what the worker raised as text only.
        raised = (RAISED.findall(_remote_trace(e) or str(e)) for e in reversed(chain))
        name, message = next((found[-1] for found in raised if found), (name, message))
    places = (_place(e) for e in reversed(chain))
    return Cause(name=name, message=message, place=next((place for place in places if place), None))


def keep_trace(error: BaseException) -> Path:
    """Writes the whole trace to a file in the temporary folder."""
    with NamedTemporaryFile("w", prefix="crnn-", suffix=".trace", delete=False, encoding="utf-8") as file:
        file.writelines(traceback.format_exception(error))
    return Path(file.name)


def _unwrapped(error: BaseException) -> Iterator[BaseException]:
    """The error and what it wraps, outermost first; by attributes, so that Ray needn't be imported."""
    seen: set[int] = set()
    inner: BaseException | None = error
    while inner is not None and id(inner) not in seen:
        seen.add(id(inner))
        yield inner
        failures = getattr(inner, "worker_failures", None)  # ray.train.WorkerGroupError, by rank
        candidates = [
            failures[min(failures)] if failures else None,
            getattr(inner, "controller_failure", None),  # ray.train.ControllerError
            getattr(inner, "_base_exc", None),  # ray.train's pair of an error and its trace
            getattr(inner, "cause", None),  # ray.exceptions.RayTaskError
            None if isinstance(inner, OUR_ERRORS) else inner.__cause__,
        ]
        inner = next((c for c in candidates if isinstance(c, BaseException)), None)


def _remote_trace(error: BaseException) -> str | None:
    return getattr(error, "traceback_str", None) or getattr(error, "_traceback_str", None)


def _class_name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _place(error: BaseException) -> str | None:
    frames = FRAME.findall(_remote_trace(error) or "".join(traceback.format_tb(error.__traceback__)))
    if not frames:
        return None
    path, line, function = frames[-1]
    return f"{path}:{line} ({function})"
