"""How well a model reads, and whether it becomes champion.

python jobs/evaluate.py --model models:/crnn/3 --data svt=out/data/svt iiit5k=out/data/iiit5k --promote
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from tempfile import TemporaryDirectory
from typing import Literal

from crnn.checkpoint import Bundle
from crnn.precision import Precision
from crnn.shipped import DEFAULT
from jobs.cli import Progress, parse_flags, table
from jobs.runtime import ExitCode, connect_ray, run_job
from pipeline.bundles import save_bundle
from pipeline.calibrate import calibrate, with_calibration
from pipeline.errors import ConfigError, ModelNotFoundError
from pipeline.evaluation import EvaluationReport, evaluate_models
from pipeline.gate import Comparison, compare, judge
from pipeline.manifest import Manifest
from pipeline.mlflow_run import check_model_name, check_name
from pipeline.peers import HEADERS as PEER_HEADERS
from pipeline.peers import read_with_peers, require_peers
from pipeline.peers import rows as peer_rows
from pipeline.protocols import named_uris
from pipeline.publish import keep, prepare, track
from pipeline.registry import register_bundle, resolve_model, set_alias
from pipeline.report import (
    GROUP_HEADERS,
    HEADERS,
    TRUST_HEADERS,
    group_rows,
    notes,
    paper_rows,
    summary_rows,
    trust_rows,
)
from pipeline.storage import absolute
from pipeline.tracking import resolve_tracking_uri


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluateConfig:
    """Evaluates a model on data sets, prints and logs the tables, and guards the alias of the champion."""

    model: str = DEFAULT
    """models:/name@alias or /version, s3://…, the folder of a bundle, or the name of a shipped model."""
    data: tuple[str, ...]
    """Data sets as name=URI, each a folder with a manifest.json."""
    protocol: Literal["alnum36", "alnum62", "latin94", "as_is"] = "alnum36"
    """What counts as the same text; alnum36 is the field's, case-insensitive."""
    filter: Literal["all", "alnum", "alnum3"] = "all"
    """Which images count; alnum3 is that of IC03-860 and IC13-857."""
    lexicon: tuple[str, ...] = ()
    """Lexicons for all images as name=URI, text files of a word a line; sets bring their own besides. Large
    ones are searched near the best path only, as in the paper."""
    details: bool = False
    """Print accuracy by length, source and width too; they are logged and kept in any case."""
    peers: bool = False
    """Read the sets with Tesseract and PP-OCR too, which `make peers` installs."""
    compare: str | None = None
    """Another model to show the differences to, image by image."""
    promote: bool = False
    """Point the alias at this model unless it is worse than the present champion on the same images."""
    margin: float = 0.005
    """Loss of word accuracy that the champion's successor is let pass with."""
    alias: str = "champion"
    """The alias that is guarded."""
    calibrate: str | None = None
    """Folder URI for a copy of the bundle whose confidences are calibrated on these data sets: held-out words
    of the kind to be read. With --no-language those of what it reads without its language model; the others
    stay."""
    register_as: str | None = None
    """Registered model of which the calibrated bundle becomes a version."""
    output: str | None = None
    """Folder URI for the report, every reading and the pictures."""
    gpu: bool = False
    """Read on GPUs."""
    precision: Precision = "fp32"
    """fp32 reads the same everywhere; auto takes bf16 where the hardware computes in it, about twice as fast
    and now and then another character."""
    language: bool = True
    """Read with the bundle's language model, where it has one; without, as the network sees it alone."""
    experiment: str = "crnn"
    """MLflow experiment."""
    tracking: str | None = None
    """MLflow tracking URI; MLFLOW_TRACKING_URI, else a local SQLite file, where not given."""

    def __post_init__(self) -> None:
        check_name(self.experiment)
        if self.calibrate is not None:
            if self.calibrate.startswith("models:"):
                raise ConfigError("--calibrate is a folder; --register-as makes what is in it a version.")
            absolute(self.calibrate)
        if self.register_as is not None:
            check_model_name(self.register_as)
        if not 0 <= self.margin < 1:
            raise ConfigError(f"margin is a share of the images, such as 0.005; {self.margin} isn't.")
        if self.register_as and not self.calibrate:
            raise ConfigError(
                "--register-as is for the calibrated bundle; say where it goes with --calibrate."
            )
        if not self.language and self.promote:
            raise ConfigError("--no-language leaves out what a bundle reads with: promote it as it reads.")
        if self.promote and self.compare:
            raise ConfigError("--promote compares with the champion already; leave --compare away.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code says how it ended."""
    return run_job(lambda: run(parse_flags(EvaluateConfig, argv, "jobs/evaluate.py")))


def run(config: EvaluateConfig) -> int:
    """Evaluates, prints, logs, and promotes where asked to; 3 where the candidate was kept out."""
    if config.peers:
        require_peers()
    tracking_uri = resolve_tracking_uri(config.tracking)
    models = [config.model, *_rival(config, tracking_uri)]
    datasets = named_uris(config.data, "Data sets")
    images = len(models) * sum(Manifest.read(uri).rows for uri in datasets.values())
    with connect_ray(), Progress(images, "images") as progress:
        report, *others = evaluate_models(
            models,
            datasets,
            config.protocol,
            filter_name=config.filter,
            lexicons=named_uris(config.lexicon, "Lexicons"),
            tracking_uri=tracking_uri,
            gpu=config.gpu,
            precision=config.precision,
            language=config.language,
            told=progress.update,
        )
    other = others[0] if others else None
    comparisons = tuple(compare(*pair) for pair in zip(report.sets, other.sets, strict=True)) if other else ()
    verdict = judge(report, other, config.margin) if config.promote else None
    text = tell(report, other, comparisons, details=config.details)
    if verdict:
        version = f"version {report.model.version}"
        decided = f"{version} {'takes over' if verdict.promote else 'is kept out'}"
        text += f"\n\n{config.alias}: {decided}; {verdict.reason}."
    print(text)
    # What was read is kept before anything that may fail, and before the alias moves because of it.
    published = prepare(report, text, other, comparisons, verdict)
    if config.output:
        keep(report, published, config.output)
        print(f"\nReport, readings and pictures: {config.output}")
    track(report, published, tracking_uri=tracking_uri, experiment=config.experiment, config=asdict(config))
    if verdict and verdict.promote:
        set_alias(report.model.name, config.alias, report.model.version, tracking_uri=tracking_uri)
        print(f"\nmodels:/{report.model.name}@{config.alias} is {version} now.")
    if config.peers:
        print(f"\n{table(PEER_HEADERS, peer_rows(report, read_with_peers(report)))}")
    if config.calibrate:
        _calibrate(report, config, tracking_uri)
    return ExitCode.OK if verdict is None or verdict.promote else ExitCode.INCOMPLETE


def tell(
    report: EvaluationReport,
    other: EvaluationReport | None = None,
    comparisons: tuple[Comparison, ...] = (),
    *,
    details: bool = False,
) -> str:
    """The tables of an evaluation with what has to be known beside them."""
    alone = "" if report.language else ", without a language model"
    lines = [
        f"{report.model.name} version {report.model.version}{alone}",
        "",
        table(HEADERS, summary_rows(report)),
    ]
    headers, papers = paper_rows(report)
    if papers:
        lines += ["", table(headers, papers)]
    for part in report.sets if details else ():
        for kind, rows in group_rows(part).items():
            lines += ["", f"{part.name} by {kind}", table(GROUP_HEADERS, rows)]
    if other:
        rows = [(c.name, c.images, c.gained, c.lost, round(100 * c.difference, 2)) for c in comparisons]
        against = f"against {other.model.name} version {other.model.version}"
        lines += ["", against, table(("set", "images", "gained", "lost", "difference %"), rows)]
    lines += ["", table(TRUST_HEADERS, trust_rows(report)), "", *notes(report)]
    return "\n".join(lines)


def _rival(config: EvaluateConfig, tracking_uri: str) -> list[str]:
    """The model to compare with, where there is one."""
    if config.compare:
        return [config.compare]
    if not config.promote:
        return []
    candidate = resolve_model(config.model, tracking_uri)
    if not candidate.uri.startswith("models:"):
        raise ConfigError(
            f"{config.model} isn't in the registry, and only registered versions can be {config.alias}. "
            "Register it first, or name it as models:/name/version."
        )
    try:
        champion = resolve_model(f"models:/{candidate.name}@{config.alias}", tracking_uri)
    except ModelNotFoundError:
        return []
    return [champion.uri]


def _calibrate(report: EvaluationReport, config: EvaluateConfig, tracking_uri: str) -> None:
    folder, name = config.calibrate, config.register_as
    assert folder
    bundle = Bundle.load(report.model.directory)
    done = calibrate(report, bundle.charset)
    alone = not config.language and bundle.language is not None
    read, other = "what is read", "what is read without the language model"
    if bundle.language:
        read = f"{read} with the language model"
    if alone:
        read, other = other, read
    calibrated = with_calibration(bundle, done, alone=alone)
    save_bundle(calibrated, folder)
    print(
        f"\nCalibrated {read} on {done.words:,} words, right where they are the truth as the charset "
        f"writes it, whatever protocol and filter say: calibration error {done.error_before:.3f} before, "
        f"{done.error_after:.3f} after, on words that were not fitted. The bundle with it: {folder}"
    )
    if bundle.language:
        print(f"Confidences of {other} stay as they were.")
    if not bundle.calibration:
        print("From now on it reads tall images turned, too: evaluate it so, and calibrate it once more.")
    if name:
        told = f"{report.model.uri} with confidences of {read} calibrated on {done.words:,} words."
        with TemporaryDirectory() as local:
            calibrated.save(local)
            version = register_bundle(local, name, tracking_uri=tracking_uri, description=told)
        print(f"Registered as models:/{name}/{version}")


if __name__ == "__main__":
    raise SystemExit(main())
