"""A job on a Ray cluster, waited for here: its log, its exit code, its end when this is ended.

python jobs/submit.py --address http://head:8265 --name paper-1 -- python jobs/train.py paper --name paper-1
"""

import logging
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.cli import parse_flags
from jobs.runtime import ExitCode, run_job
from pipeline.errors import ConfigError
from pipeline.submission import Ending, Submission, check_entry

log = logging.getLogger("jobs.submit")


@dataclass(frozen=True, kw_only=True, slots=True)
class SubmitConfig:
    """Runs the command after -- on a cluster. The same name again follows what runs, and runs what failed."""

    name: str
    """Names the submission: what runs or succeeded under it isn't run again, and must be the same command."""
    address: str = "http://127.0.0.1:8265"
    """The dashboard of the cluster's head."""
    working_dir: str | None = None
    """Folder whose code the job runs with, such as '.'; what the cluster's image has installed otherwise."""
    grace_s: float = 120.0
    """Seconds that the job gets to end in order when this is ended by Ctrl-C or SIGTERM."""
    patience_s: float = 120.0
    """Seconds to put up with a head that doesn't answer, once the job is on."""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]{0,98}[a-z0-9])?", self.name):
            raise ConfigError(f"--name {self.name!r}: up to 100 small letters, digits, '.' and '-'.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; its exit code is that of the command."""
    return run_job(lambda: run(*split(sys.argv[1:] if argv is None else argv)))


def split(argv: Sequence[str]) -> tuple[SubmitConfig, list[str]]:
    """Our own flags, and the command after the first --."""
    end = list(argv).index("--") if "--" in argv else len(argv)
    return parse_flags(SubmitConfig, argv[:end], "jobs/submit.py"), list(argv[end + 1 :])


def run(config: SubmitConfig, entry: Sequence[str]) -> int:
    """Hands the command over, shows its log, waits, and ends it where this is ended first."""
    check_entry(entry, os.environ)
    submission = Submission(config.address, config.name, patience_s=config.patience_s)
    attempt = submission.start(entry, config.working_dir)
    log.info("On the cluster as %s", attempt)
    try:
        ending = submission.follow(attempt, lambda text: print(text, end="", flush=True))
    except (SystemExit, KeyboardInterrupt):
        ended = submission.stop(attempt, config.grace_s)
        log.warning("%s %s", attempt, "ended in order" if ended else f"still ends after {config.grace_s:g} s")
        raise
    return exit_code(ending)


def exit_code(ending: Ending) -> int:
    """The command's exit code, or the one that a shell would give to how it ended."""
    if ending.status == "SUCCEEDED":
        return ExitCode.OK
    log.error("%s %s: %s", ending.attempt, ending.status, ending.message)
    if ending.status == "STOPPED":
        return ExitCode.TERMINATED
    if ending.code is None:
        return ExitCode.FAILED
    return ending.code if ending.code > 0 else 128 - ending.code


if __name__ == "__main__":
    raise SystemExit(main())
