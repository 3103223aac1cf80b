"""What every job shares: logging, Ray, exit codes, signals, failures told in a few lines."""

import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from jobs.failures import ExitCode, IncompleteError, explain, find_cause, keep_trace
from jobs.signals import take_over_again, unwinding
from pipeline.errors import ConfigError
from pipeline.machine import (
    cluster_resources,
    local_ray_cpus,
    memory_bytes,
    object_store,
    shared_memory_bytes,
)
from pipeline.ray_output import quiet_ray_data

__all__ = ["ExitCode", "IncompleteError", "configure_logging", "connect_ray", "require_room", "run_job"]

SILENT_MS, ANSWER_MS = "75000", "30000"
"""After how long without a word Ray asks whether a connection still stands, and how long it waits for that.
By its own measure (Ray 2.60) what runs on a host that is cut off is waited for for seven minutes. Its servers
end connections that ask more often than once a minute."""

STARTS = 3
"""How often to try to start a local Ray."""

log = logging.getLogger(__name__)


def run_job(body: Callable[[], int | None]) -> int:
    """Runs a job's body and turns however it ends into an exit code.

    Failures are told on stderr by their cause and what to do. SIGTERM and Ctrl-C unwind the body as
    SystemExit, so that its `finally` blocks run. Never raises.

    Args:
        body: All of the job, parsing of the command line included; returns an exit code, None for OK.
    """
    configure_logging()
    with unwinding() as signals:
        try:
            return int(body() or ExitCode.OK)
        except BaseException as error:
            if signals.received is not None:  # whatever it has become on its way up
                return ExitCode(128 + signals.received)
            if isinstance(error, SystemExit) and not isinstance(error.code, str):
                return error.code or ExitCode.OK
            cause = find_cause(error)
            print(explain(cause), file=sys.stderr)
            if not cause.ours:
                print(f"  The whole trace: {keep_trace(error)}", file=sys.stderr)
            log.debug("The whole trace", exc_info=error)
            return cause.code


def configure_logging() -> None:
    """Our own messages from INFO up, everybody else's from WARNING up, on stderr.

    LOG_LEVEL=DEBUG shows ours from there up, and what Ray's workers print.
    """
    level = os.environ.get("LOG_LEVEL", "INFO").upper()
    known = logging.getLevelNamesMapping()
    logging.basicConfig(
        level=logging.WARNING,
        # A live progress line may stand where the message begins: clear it.
        format=("\r\x1b[K" if sys.stderr.isatty() else "") + "%(asctime)s %(levelname).1s %(message)s",
        datefmt="%H:%M:%S",
    )
    for package in ("crnn", "pipeline", "jobs"):
        logging.getLogger(package).setLevel(known.get(level, logging.INFO))


@contextmanager
def connect_ray() -> Iterator[None]:
    """Joins the cluster at RAY_ADDRESS (set inside a Ray job), or starts Ray here; leaves at the end.

    Does nothing where the process is connected already. A local Ray has no dashboard, is protected by a token
    that lives only in this process's environment, and gives at most 30 % of the memory to its object store.

    Raises:
        ConfigError: RAY_ADDRESS can't be reached.
    """
    quiet = not log.isEnabledFor(logging.DEBUG)
    if quiet:
        quiet_ray_data()
    os.environ.setdefault("RAY_grpc_client_keepalive_time_ms", SILENT_MS)
    os.environ.setdefault("RAY_grpc_client_keepalive_timeout_ms", ANSWER_MS)
    import ray

    if ray.is_initialized():
        yield
        return
    address = os.environ.get("RAY_ADDRESS")
    if address:
        _join(address, quiet)
    else:
        _start(quiet)
    take_over_again()  # ray.init puts a handler of its own in place, which exits with 15
    try:
        yield
    finally:
        ray.shutdown()


def require_room(workers: int, *, gpu: bool) -> None:
    """Makes sure that a job's workers will find a place, with a CPU left for the data that they wait for.

    A cluster may still grow: there the job waits, and says for what.

    Args:
        workers: Processes with a CPU each.
        gpu: With a GPU each besides.

    Raises:
        ConfigError: This machine is all there is, and it is too small.
    """
    there = cluster_resources()
    wanted = {"CPU": workers + 1, "GPU": workers if gpu else 0}
    lacking = {name: count for name, count in wanted.items() if there.get(name, 0) < count}
    if not lacking:
        return
    asked = f"{workers} workers and their data need " + ", ".join(
        f"{count} {name}s, of which there are {there.get(name, 0):g}" for name, count in lacking.items()
    )
    if not os.environ.get("RAY_ADDRESS"):
        raise ConfigError(f"{asked}. Ask for fewer workers, or run on a cluster (RAY_ADDRESS).")
    log.warning("%s: waiting for the cluster to grow.", asked)


def _join(address: str, quiet: bool) -> None:
    import ray

    if address.startswith("http"):
        raise ConfigError(
            f"RAY_ADDRESS={address} is a dashboard: jobs are submitted there with `ray job submit`. "
            "Unset it to run on this machine, or set it to the cluster's own address (host:6379)."
        )
    try:
        ray.init(address=address, log_to_driver=not quiet, logging_level=logging.WARNING)
    except (ConnectionError, RuntimeError) as error:
        raise ConfigError(
            f"No Ray cluster answers at RAY_ADDRESS={address} ({error}). "
            "Start one (ray start --head), correct the address, or unset it to run on this machine."
        ) from error


def _start(quiet: bool) -> None:
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray protects a local cluster by a token, which it would write into the home folder and say so.
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    store, directory = object_store(memory_bytes(), shared_memory_bytes())
    for tries_left in range(STARTS - 1, -1, -1):
        try:
            ray.init(
                address="local",
                num_cpus=local_ray_cpus(),
                object_store_memory=store,
                _plasma_directory=directory,
                include_dashboard=False,
                log_to_driver=not quiet,
                logging_level=logging.WARNING,
            )
        except Exception as error:
            # Ray waits 30 s for its own processes, whatever else the machine has to do.
            if "timed out during startup" not in str(error) or not tries_left:
                raise
            log.warning("Ray didn't start within 30 s: this machine is busy. Trying again.")
            ray.shutdown()
        else:
            return
