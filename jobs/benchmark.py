"""How fast each stage is on this machine, beside what the hardware could do at best.

python jobs/benchmark.py
python jobs/benchmark.py --stages decode recognise --device cuda --output out/benchmark.json
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from crnn.networks import NETWORKS
from jobs.cli import parse_flags, table
from jobs.runtime import ExitCode, run_job
from pipeline.benchmark.catalogue import STAGES, USUAL
from pipeline.benchmark.measure import Row, Setting
from pipeline.benchmark.record import HEADERS, as_json, machine, table_rows, track
from pipeline.errors import ConfigError
from pipeline.machine import available_cpus
from pipeline.mlflow_run import check_name
from pipeline.storage import write_atomic
from pipeline.tracking import resolve_tracking_uri

log = logging.getLogger("jobs.benchmark")  # run as a script, __name__ is __main__


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchmarkConfig:
    """Measures stages of the pipeline, from inputs that it makes itself where none are given."""

    stages: tuple[str, ...] = USUAL
    """Names of the stages to measure; night, too, which needs the packages of transcription, and minutes."""
    device: str = "cpu"
    """Where networks run: cpu or cuda."""
    threads: tuple[int, ...] = ()
    """Numbers of threads to measure networks with on CPUs; one and all of them where not given."""
    networks: tuple[str, ...] = tuple(NETWORKS)
    """Networks to measure."""
    rounds: int = 5
    """Rounds whose median counts, after one that doesn't."""
    seconds: float = 0.5
    """Least length of a round in seconds."""
    photographs: str | None = None
    """Folder or prefix of images of words that the stage night reads, instead of some that it makes."""
    json: bool = False
    """Print JSON instead of the table."""
    output: str | None = None
    """URI of a file for the JSON."""
    experiment: str = "crnn-benchmark"
    """MLflow experiment."""
    tracking: str | None = None
    """MLflow tracking URI; MLFLOW_TRACKING_URI, else a local SQLite file, where not given."""

    def __post_init__(self) -> None:
        check_name(self.experiment)
        for what, known, asked in (
            ("stages", STAGES, self.stages),
            ("networks", NETWORKS, self.networks),
        ):
            unknown = [name for name in asked if name not in known]
            if unknown or not asked:
                raise ConfigError(f"--{what} are some of {', '.join(known)}; {unknown or 'none'} asked for.")
        if self.rounds < 1 or self.seconds <= 0 or any(count < 1 for count in self.threads):
            raise ConfigError("rounds, seconds and threads must be positive.")
        if self.device.partition(":")[0] not in ("cpu", "cuda"):
            raise ConfigError(f"--device is cpu or cuda; {self.device!r} isn't.")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise ConfigError("There is no GPU that torch can use here; leave --device away.")

    @property
    def setting(self) -> Setting:
        """What the stages are told."""
        return Setting(
            device=self.device,
            threads=self.threads or tuple(sorted({1, available_cpus()})),
            networks=self.networks,
            rounds=self.rounds,
            seconds=self.seconds,
            photographs=self.photographs,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code says how it ended."""
    return run_job(lambda: run(parse_flags(BenchmarkConfig, argv, "jobs/benchmark.py")))


def run(config: BenchmarkConfig) -> int:
    """Measures, prints and logs; 3 where a stage could not be measured."""
    tracking_uri, setting = resolve_tracking_uri(config.tracking), config.setting
    rows: list[Row] = []
    failures: dict[str, str] = {}
    for name in config.stages:
        log.info("Measuring %s", name)
        try:
            rows += STAGES[name](setting)
        except Exception as error:  # the other stages' figures are worth having
            failures[name] = f"{type(error).__name__}: {error}"
            log.warning("%s could not be measured: %s", name, failures[name])
    record = as_json(rows, setting, failures)
    facts = ", ".join(map(str, machine(config.device).values()))
    print(record if config.json else f"{facts}\n\n{table(HEADERS, table_rows(rows))}")
    if config.output:
        write_atomic(config.output, record.encode() + b"\n")
    track(rows, setting, failures, tracking_uri=tracking_uri, experiment=config.experiment)
    return ExitCode.INCOMPLETE if failures else ExitCode.OK


if __name__ == "__main__":
    raise SystemExit(main())
