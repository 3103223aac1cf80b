"""Is this place fit for the jobs? One line a check, with what to do.

python jobs/doctor.py --output s3://bucket/runs --tracking http://mlflow:5000 --address http://head:8265
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobs.cli import parse_flags
from jobs.runtime import ExitCode, connect_ray, run_job
from pipeline.checks import Finding
from pipeline.checks.cluster import check_dashboard, check_nodes
from pipeline.checks.machine import (
    check_disk,
    check_fonts,
    check_gpu,
    check_processes,
    check_python,
    check_shared_memory,
)
from pipeline.checks.storage import check_storage
from pipeline.checks.tracking import check_tracking
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class DoctorConfig:
    """Looks at a place before a job trusts it; the exit code is 1 where something is wrong."""

    output: str | None = None
    """URI of a folder that jobs are to write to; an object is written below it, in doctor/."""
    tracking: str | None = None
    """MLflow tracking URI; MLFLOW_TRACKING_URI, else a local SQLite file, where not given."""
    address: str | None = None
    """Dashboard of a Ray cluster, such as http://head:8265, to look at from outside, or its own address
    (host:6379) to look at each of its nodes; RAY_ADDRESS where not given."""
    gpu: bool = False
    """A GPU is needed."""
    expected_images_per_s: float | None = None
    """Training rate that such a GPU should have; half of it is still let pass."""
    fonts: bool = False
    """Words are to be rendered here."""

    def __post_init__(self) -> None:
        if self.expected_images_per_s is not None and self.expected_images_per_s <= 0:
            raise ConfigError(f"--expected-images-per-s {self.expected_images_per_s}: give a rate above 0.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code says how it ended."""
    return run_job(lambda: run(parse_flags(DoctorConfig, argv, "jobs/doctor.py")))


def run(config: DoctorConfig) -> int:
    """Prints every finding as it comes."""
    wrong = 0
    for finding in examine(config):
        print(tell(finding), flush=True)
        wrong += not finding.good
    print(f"\n{wrong} of these must be put right." if wrong else "\nAll is well.")
    return ExitCode.FAILED if wrong else ExitCode.OK


def examine(config: DoctorConfig) -> Iterator[Finding]:
    """Every check that the config asks for, the quick ones first."""
    yield check_python()
    yield check_processes()
    yield check_disk(Path(tempfile.gettempdir()))
    yield check_shared_memory()
    if config.fonts:
        yield check_fonts()
    if config.gpu or config.expected_images_per_s is not None:
        yield from check_gpu(config.expected_images_per_s)
    if config.output is not None:
        yield from check_storage(config.output)
    yield check_tracking(config.tracking)
    address = config.address or os.environ.get("RAY_ADDRESS")
    if address is not None:
        yield from check_cluster(address)


def check_cluster(address: str) -> list[Finding]:
    """From outside where the address is a dashboard's, else node by node."""
    if address.startswith("http"):
        return check_dashboard(address)
    os.environ["RAY_ADDRESS"] = address
    try:
        with connect_ray():
            return check_nodes()
    except ConfigError as error:
        return [Finding(what=f"Ray {address}", good=False, told=str(error))]


def tell(finding: Finding) -> str:
    """A finding as a line, and what to do about it as another."""
    line = f"{'ok   ' if finding.good else 'WRONG'}  {finding.what}: {finding.told}"
    return f"{line}\n       → {finding.advice}" if finding.advice else line


if __name__ == "__main__":
    raise SystemExit(main())
