"""A job on a Ray cluster, followed from outside: handed over once, however often this is tried.

`ray job submit` exits with 0 for a job that was stopped and with 1 for every failure, and leaves the job
running when it is ended itself. A scheduler needs to know better. So the name of a submission is an
idempotency key here: attempts are NAME, NAME-2, …; one that runs is followed, one that succeeded is reported,
and only after one that failed comes the next. Another command under a name that is taken is refused.
"""

import asyncio
import itertools
import logging
import shlex
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from pipeline.credentials import INSTEAD, refuse_passwords
from pipeline.errors import ClusterError, ConfigError

POLL_S = 1.0
SECRET_WORDS = ("SECRET", "TOKEN", "PASSWORD")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a job on the cluster ended."""

    attempt: str
    """Ray's submission id."""
    status: str
    """SUCCEEDED, FAILED or STOPPED."""
    code: int | None
    """The driver's own exit code; None where the driver didn't get to exit."""
    message: str
    """What Ray says of it."""


def check_entry(entry: Sequence[str], environment: Mapping[str, str]) -> None:
    """Refuses a command that would show a secret: the jobs API and the dashboard show commands in clear.

    Args:
        entry: The command and its arguments.
        environment: The caller's; values of variables named like secrets must not be in the command.

    Raises:
        ConfigError: There is no command, or there is a secret in it.
    """
    if not entry:
        raise ConfigError("There is no command to run; put it after --, as in: -- python jobs/train.py demo")
    secrets = {
        value: name
        for name, value in environment.items()
        if len(value) >= 8 and any(word in name for word in SECRET_WORDS)
    }
    refuse_passwords(entry, "The command")
    for argument in entry:
        found = next((name for value, name in secrets.items() if value in argument), None)
        if found:
            raise ConfigError(
                f"The command holds the value of {found}, and everybody who sees the dashboard would "
                f"read it. {INSTEAD}"
            )


class Submission:
    """A command on a cluster under a name.

    Args:
        address: The dashboard's, such as http://head:8265.
        name: See the module.
        patience_s: Seconds to put up with a head that doesn't answer, once the job is on.

    Raises:
        ConfigError: Nothing answers there, or it lets nobody in without the right token.
    """

    def __init__(self, address: str, name: str, *, patience_s: float = 120.0) -> None:
        from ray.job_submission import JobSubmissionClient

        logging.getLogger("ray.dashboard").setLevel(logging.WARNING)  # tells of every connection
        logging.getLogger("ray._private.runtime_env").setLevel(logging.ERROR)  # and of every file left out
        self.name, self._patience_s = name, patience_s
        with _explained(address):
            self._client = JobSubmissionClient(address)

    def start(self, entry: Sequence[str], working_dir: str | None) -> str:
        """The attempt to follow: one that runs or succeeded, else a new one.

        Args:
            entry: The command and its arguments.
            working_dir: Folder whose files the job runs with; None is what the cluster has installed.

        Raises:
            ClusterError: The cluster refused the job.
            ConfigError: What runs or succeeded under the name is another command.
        """
        jobs = {str(job.submission_id): job for job in self._client.list_jobs()}
        attempt = _attempt_to_follow(self.name, {name: job.status.value for name, job in jobs.items()})
        if attempt not in jobs:
            self._submit(attempt, entry, working_dir)
        elif (other := jobs[attempt].entrypoint) != shlex.join(entry):
            raise ConfigError(
                f"{attempt} is there already, {jobs[attempt].status.value}, with another command: {other}. "
                "Give this one another --name."
            )
        return attempt

    def _submit(self, attempt: str, entry: Sequence[str], working_dir: str | None) -> None:
        runtime_env = {"working_dir": working_dir} if working_dir else None
        end = time.monotonic() + self._patience_s
        while True:
            try:
                self._client.submit_job(
                    entrypoint=shlex.join(entry), submission_id=attempt, runtime_env=runtime_env
                )
                return
            except (RuntimeError, ValueError) as error:
                # A head that has just started answers before it can run jobs.
                if "No available agent" not in str(error) or time.monotonic() > end:
                    raise ClusterError(f"The cluster refused {attempt}: {error}") from error
            time.sleep(POLL_S)

    def follow(self, attempt: str, show: Callable[[str], None]) -> Ending:
        """Shows the log as it grows, and waits for the end.

        Raises:
            ClusterError: The head didn't answer for as long as it was worth waiting; the job may go on.
        """
        shown, silent_since = ShownLog(show), None
        while True:
            try:
                asyncio.run(self._tail(attempt, shown))
                job = self._client.get_job_info(attempt)
            except (RuntimeError, OSError, aiohttp.ClientError) as error:
                silent_since = silent_since or time.monotonic()
                if time.monotonic() - silent_since > self._patience_s:
                    raise ClusterError(
                        f"The cluster's head hasn't answered for {self._patience_s:g} s ({error}). If it is "
                        f"gone, so is the job {attempt}: submit again, it takes up what was done."
                    ) from error
                log.debug("The head doesn't answer", exc_info=error)
                time.sleep(POLL_S)
                continue
            silent_since = None
            if job.status.is_terminal():
                return Ending(
                    attempt=attempt,
                    status=job.status.value,
                    code=job.driver_exit_code,
                    message=(job.message or "").partition(", last available logs")[0],
                )
            time.sleep(POLL_S)

    def stop(self, attempt: str, grace_s: float) -> bool:
        """Asks the job to end in order; whether it ended within the grace."""
        self._client.stop_job(attempt)
        end = time.monotonic() + grace_s
        while time.monotonic() < end:
            if self._client.get_job_status(attempt).is_terminal():
                return True
            time.sleep(POLL_S)
        return False

    async def _tail(self, attempt: str, shown: "ShownLog") -> None:
        """Shows what is new of the log, until the connection ends or breaks."""
        shown.rewind()
        async for text in self._client.tail_job_logs(attempt):
            shown.add(text)


class ShownLog:
    """A log that is sent from its beginning with each connection, and shown once."""

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show
        self._shown = self._place = 0

    def rewind(self) -> None:
        """The beginning comes next."""
        self._place = 0

    def add(self, text: str) -> None:
        """Shows what of the text is new."""
        new = text[max(0, self._shown - self._place) :]
        self._place += len(text)
        self._shown = max(self._shown, self._place)
        if new:
            self._show(new)


def _attempt_to_follow(name: str, known: Mapping[str, str]) -> str:
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(n for n in names if known.get(n) not in ("FAILED", "STOPPED"))


@contextmanager
def _explained(address: str) -> Iterator[Any]:
    import requests
    from ray.exceptions import AuthenticationError

    try:
        yield
    except AuthenticationError as error:
        raise ConfigError(
            f"The Ray cluster at {address} doesn't let this in. Set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH to a file with the cluster's token (infra/README.md says where it is)."
        ) from error
    except (ConnectionError, RuntimeError, requests.RequestException) as error:
        raise ConfigError(
            f"No Ray dashboard answers at {address} ({error}). Give http://host:8265 of the cluster's head, "
            "or forward that port to this machine."
        ) from error
