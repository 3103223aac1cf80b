"""How well a model reads, and whether it becomes champion.

python jobs/evaluate.py --model models:/crnn/3 --data svt=out/data/svt iiit5k=out/data/iiit5k --promote
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from jobs.cli import parse_flags, table
from jobs.runtime import ExitCode, connect_ray, run_job
from pipeline import provenance
from pipeline.errors import ConfigError, ModelNotFoundError
from pipeline.evaluation import EvaluationReport, evaluate
from pipeline.gate import Verdict, judge
from pipeline.protocols import named_uris
from pipeline.registry import resolve_model, set_alias
from pipeline.report import HEADERS, metrics, notes, paper_rows, summary_rows
from pipeline.tracking import DataInput, MetricPoint, Tracker, TrackerConfig, flatten, resolve_tracking_uri


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Evaluates a model on data sets, prints and logs the table, and guards the alias of the champion."""

    model: str
    """models:/name@alias, models:/name/version, s3://… or the folder of a bundle."""
    data: tuple[str, ...]
    """Data sets as name=URI, each a folder with a manifest.json."""
    protocol: Literal["alnum36", "alnum62", "latin94", "as_is"] = "alnum36"
    """What counts as the same text; alnum36 is the field's, case-insensitive."""
    filter: Literal["all", "alnum", "alnum3"] = "all"
    """Which images count; alnum3 is that of IC03-860 and IC13-857."""
    promote: bool = False
    """Point the alias at this model unless it is worse than the present champion on the same images."""
    margin: float = 0.005
    """Loss of word accuracy that the champion's successor is let pass with."""
    alias: str = "champion"
    """The alias that is guarded."""
    gpu: bool = False
    """Read on GPUs."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16 is about twice as fast and now and then differs in a character."""
    experiment: str = "crnn"
    """MLflow experiment."""
    tracking: str | None = None
    """MLflow tracking URI; MLFLOW_TRACKING_URI, else a local SQLite file, where not given."""

    def __post_init__(self) -> None:
        if not 0 <= self.margin < 1:
            raise ConfigError(f"margin is a share of the images, such as 0.005; {self.margin} isn't.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code says how it ended."""
    return run_job(lambda: run(parse_flags(EvaluateConfig, argv, "jobs/evaluate.py")))


def run(config: EvaluateConfig) -> int:
    """Evaluates, prints, logs, and promotes where asked to; 3 where the candidate was kept out."""
    tracking_uri = resolve_tracking_uri(config.tracking)
    candidate = resolve_model(config.model, tracking_uri)
    if config.promote and not candidate.uri.startswith("models:"):
        raise ConfigError(
            f"{config.model} isn't in the registry, and only registered versions can be {config.alias}. "
            "Register it first, or name it as models:/name/version."
        )
    with connect_ray():
        report = _evaluate(config, config.model)
        verdict = _guard(config, report) if config.promote else None
    print(tell(report))
    if verdict:
        print(f"\n{config.alias}: {'now' if verdict.promote else 'kept out'}; {verdict.reason}.")
    track(report, config, verdict, tracking_uri)
    return ExitCode.OK if verdict is None or verdict.promote else ExitCode.INCOMPLETE


def tell(report: EvaluationReport) -> str:
    """The table of an evaluation with what has to be known beside it."""
    lines = [f"{report.model.name} version {report.model.version}", "", table(HEADERS, summary_rows(report))]
    names = [part.name for part in report.sets]
    papers = paper_rows(names)
    if papers:
        lines += ["", table(("word accuracy %", *names), papers)]
    return "\n".join([*lines, "", *notes(report)])


def track(
    report: EvaluationReport, config: EvaluateConfig, verdict: Verdict | None, tracking_uri: str
) -> None:
    """Logs the evaluation as a run of its own, whose name is what was evaluated on what."""
    model, now = report.model, int(time.time() * 1000)
    data = "+".join(part.name for part in report.sets)
    name = f"evaluate {model.name} {model.version} on {data} ({report.protocol.name}, {report.filter.name})"
    tracker = Tracker(
        TrackerConfig(tracking_uri=tracking_uri, experiment=config.experiment, run_name=name[:250])
    )
    inputs = [
        DataInput(name=p.name, uri=p.uri, fingerprint=p.fingerprint, context="evaluation", rows=p.images)
        for p in report.sets
    ]
    tags = {"crnn.model": model.uri, "crnn.model_digest": model.digest, **provenance.collect().tags()}
    if verdict:
        tags |= {
            "crnn.gate": "promoted" if verdict.promote else "kept out",
            "crnn.gate_reason": verdict.reason,
        }
    tracker.open_run(params=flatten(asdict(config)), tags=tags, inputs=inputs)
    tracker.log_points(MetricPoint(key, value, 0, now) for key, value in metrics(report).items())
    rows = summary_rows(report)
    tracker.log_table("evaluation.json", {h: [row[i] for row in rows] for i, h in enumerate(HEADERS)})
    tracker.log_text("evaluation.txt", tell(report))
    tracker.finish("FINISHED")


def _evaluate(config: EvaluateConfig, model: str) -> EvaluationReport:
    return evaluate(
        model,
        named_uris(config.data, "Data sets"),
        config.protocol,
        filter_name=config.filter,
        tracking_uri=config.tracking,
        gpu=config.gpu,
        precision=config.precision,
    )


def _guard(config: EvaluateConfig, report: EvaluationReport) -> Verdict:
    """Judges the candidate against the present champion, and moves the alias where it passes."""
    name, version = report.model.name, report.model.version
    champion = f"models:/{name}@{config.alias}"
    try:
        present = resolve_model(champion, config.tracking)
    except ModelNotFoundError:
        other = None
    else:
        if present.version == version:
            return Verdict(promote=True, reason=f"version {version} is {config.alias} already")
        other = _evaluate(config, present.uri)
    verdict = judge(report, other, config.margin)
    if verdict.promote:
        set_alias(name, config.alias, version, tracking_uri=config.tracking)
    return verdict


if __name__ == "__main__":
    raise SystemExit(main())
