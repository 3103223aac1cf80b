r"""Makes a finished run's best bundle one that comes with the package, with a language model and a card.

python jobs/ship.py --run out/runs/latin94-small --train-data out/data/scene --assets out/assets \
    --data svt=out/data/svt iiit5k=out/data/iiit5k
"""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from crnn.charset import CHARSETS, Charset
from crnn.checkpoint import Bundle
from crnn.networks import NETWORKS
from crnn.optimizer import OptimizerConfig
from crnn.preprocess import PreprocessConfig
from crnn.shipped import MODELS, halved
from jobs.cli import cell, parse_flags, table
from jobs.recipes import RECIPES
from jobs.runtime import ExitCode, connect_ray, run_job
from pipeline.benchmark.record import machine
from pipeline.calibrate import calibrate, with_calibration
from pipeline.card import SHEET, Training, licences_of, model_card
from pipeline.diagrams import error_sheet
from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport, evaluate
from pipeline.language import learn_language
from pipeline.machine import available_cpus
from pipeline.manifest import Manifest
from pipeline.protocols import named_uris
from pipeline.report import HEADERS, summary_rows
from pipeline.resume import BUNDLE
from pipeline.runs import IDENTITY, finished
from pipeline.storage import join, local_copy, read_bytes
from pipeline.synthesis import assets
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.stream import Stream, is_stream

PROTOCOLS = ("alnum36", "alnum62", "latin94")
"""Under which a card tells accuracy; the first is the field's."""
CARD = "README.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShipConfig:
    """Halves the weights, learns a language model, calibrates and evaluates on held-out photographs, and
    writes bundle and card."""

    run: str
    """Folder URI of a finished training run."""
    train_data: str
    """URI of the data set that it learnt from, or synth://… of the stream."""
    assets: str
    """URI of the assets that the data set was drawn with, for their licences."""
    data: tuple[str, ...]
    """Photographs to evaluate on, as name=URI."""
    calibrate_on: tuple[str, ...] = ()
    """Names of those to calibrate on: whose labels are as written, capitals included. All where not given."""
    words: str | None = None
    """URI of the assets whose words the language model learns; those of --assets where not given."""
    strings: int = 2_000_000
    """Strings that its n-gram learns of; 0 ships the network alone."""
    name: str | None = None
    """The name that users load it by; the run's where not given."""
    hardware: str | None = None
    """What it was trained on; this machine where not given."""
    output: str = str(MODELS)
    """Local folder of the models; the package's own by default."""

    def __post_init__(self) -> None:
        if self.strings < 0:
            raise ConfigError(f"--strings is 0 or more; {self.strings} isn't.")
        sets = named_uris(self.data, "Data sets")
        if unknown := [name for name in self.calibrate_on if name not in sets]:
            raise ConfigError(f"--calibrate-on names sets of --data; {', '.join(unknown)} is none.")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code says how it ended."""
    return run_job(lambda: run(parse_flags(ShipConfig, argv, "jobs/ship.py")))


def run(config: ShipConfig) -> int:
    """Writes the folder of the model and prints how well it reads."""
    training, bundle = _origin(config)
    name = config.name or training.run
    with connect_ray():
        bundle = bundle.alone()  # a run that began with a bundle has its language model
        if config.strings:
            drawn = Assets.open(config.words or config.assets)
            model = learn_language(drawn, bundle.charset, strings=config.strings, seed=training.seed)
            bundle = replace(bundle, language=model)
        bundle = _calibrated(bundle, config)
        folder = (Path(config.output) / name).absolute()  # "latin94" alone would be the one that is there
        bundle.save(folder)
        reports = [_evaluate(folder, config, protocol) for protocol in PROTOCOLS]
        bare = _evaluate(folder, config, PROTOCOLS[0], language=False) if bundle.language else None
    for part in reports[0].sets:
        (folder / SHEET.format(part.name)).write_bytes(error_sheet(part, count=24))
    reader = machine("cpu")["cpu"]
    card = model_card(name, Bundle.load(folder), training, reports, bare, reader=reader)
    (folder / CARD).write_text(card, encoding="utf-8")
    print(table(HEADERS, summary_rows(reports[0])))
    print(f"\n{folder}: {cell(sum(file.stat().st_size for file in folder.iterdir()))} bytes, card in {CARD}")
    return ExitCode.OK


def _origin(config: ShipConfig) -> tuple[Training, Bundle]:
    done = finished(config.run)
    if done is None:
        raise ConfigError(
            f"{config.run} holds no finished run. Let it end first: jobs/train.py goes on with it."
        )
    identity = json.loads(read_bytes(join(config.run, IDENTITY)))
    with local_copy(join(done.checkpoint_uri, BUNDLE) + "/") as folder:
        bundle = halved(Bundle.load(folder))
    data = _learnt_from(config, identity["data"], bundle.charset)
    begin = dict(bundle.provenance.get("started_from", {}))
    if begin:
        if not begin["uri"].startswith("models:/"):  # a folder's place is nobody's business
            begin["uri"] = begin["uri"].rstrip("/").rsplit("/", 1)[-1]
        bundle = replace(bundle, provenance={**bundle.provenance, "started_from": begin})
    faces = json.loads(read_bytes(join(config.assets, assets.NAME)))["faces"]
    run = config.run.rstrip("/").rsplit("/", 1)[-1]
    seen = int(bundle.provenance["images_seen"])
    training = Training(
        run=run,
        command=_command((config.name, run), done.images_seen, identity, begin),
        data=data.fingerprint,
        rows=seen // data.echo if isinstance(data, Stream) else data.rows,
        seed=int(identity["order"][0]),
        images=seen,
        hours=seen / done.images_per_s / 3600,
        hardware=config.hardware or f"{available_cpus()} cores of {machine('cpu')['cpu']}",
        fonts=len(faces),
        licences=licences_of(faces),
    )
    return training, replace(bundle, provenance=training.as_dict(bundle.provenance))


def _learnt_from(config: ShipConfig, known: Any, charset: Charset) -> Manifest | Stream:
    """The data set that the run knows by its fingerprint, drawn with the assets whose licences are told."""
    if isinstance(known, dict):
        if len(known) > 1:
            raise ConfigError(
                f"{config.run} learnt from a mixture of {', '.join(known)}. A card tells of one rendered "
                "set; models of mixtures are used from the registry, or from the run's folder."
            )
        ((known, _),) = known.values()
    data: Manifest | Stream
    if is_stream(config.train_data):
        data = Stream.open(config.train_data, charset)
    else:
        data = Manifest.read(config.train_data)
    if data.fingerprint != known:
        raise ConfigError(
            f"{config.run} learnt from data set {known}; {config.train_data} is {data.fingerprint}. Give the "
            "one that it learnt from."
        )
    drawn_with, given = data.config.get("assets"), Assets.open(config.assets).fingerprint
    if drawn_with is None:
        raise ConfigError(
            f"{config.train_data} wasn't rendered by jobs/synthesize.py, and a card says that no photograph "
            "was trained on. Use the run's bundle from the registry, or from its folder."
        )
    if drawn_with != given:
        raise ConfigError(
            f"{config.train_data} was drawn with assets {drawn_with}; {config.assets} is {given}. Give those "
            "that it was drawn with: the card tells their licences."
        )
    return data


def _command(
    names: tuple[str | None, str], images: int, identity: Mapping[str, Any], begin: Mapping[str, Any]
) -> str:
    """That trains such a run again: the recipe, and what the run had otherwise, its data aside.

    Args:
        names: Of the model, if it is another's, and of the run: the first that is a recipe's is taken for it.
        images: That the run saw.
        identity: Of the run.
        begin: What its weights began with.
    """
    recipe = next((name for name in names if name in RECIPES), "default")
    usual = RECIPES[recipe]()
    words = [f"python jobs/train.py {recipe}"]
    if recipe not in names:
        words.append(f"--name {shlex.quote(names[1])}")
    words.append(f"--images {images}")
    networks = {json.dumps(network.to_dict()): name for name, network in NETWORKS.items()}
    charsets = {charset.fingerprint: name for name, charset in CHARSETS.items()}
    had: dict[str, Any] = {
        "network": networks.get(identity["network"], "(of another release)"),
        "charset": charsets.get(identity["charset"], "(of another release)"),
        **dict(zip(("seed", "window-rows", "pack-columns"), identity["order"], strict=True)),
    }
    usually = {name: getattr(usual, name.replace("-", "_")) for name in had}
    prepared, moved = (
        PreprocessConfig.from_dict(identity["preprocess"]),
        OptimizerConfig(**identity["optimizer"]),
    )
    groups = {
        "preprocess": (asdict(prepared), asdict(usual.preprocess)),
        "optimizer": (asdict(moved), asdict(usual.optimizer)),
    }
    for group, configs in groups.items():
        for told, values in zip((had, usually), configs, strict=True):
            told |= {f"{group}.{name.replace('_', '-')}": value for name, value in values.items()}
    words += [f"--{name} {value}" for name, value in had.items() if value != usually[name]]
    if begin:  # the fingerprint tells which of those that bore the name
        words.append(f"--start-from {begin['uri']}  # bundle {begin['fingerprint']}")
    elif usual.start_from is not None:
        words.append("--start-from None")
    return " ".join(words)


def _calibrated(bundle: Bundle, config: ShipConfig) -> Bundle:
    for language in (True, False) if bundle.language else (True,):
        with TemporaryDirectory() as name:
            bundle.save(name)
            report = _evaluate(Path(name), config, PROTOCOLS[0], config.calibrate_on, language=language)
        bundle = with_calibration(bundle, calibrate(report, bundle.charset), alone=not language)
    return bundle


def _evaluate(
    folder: Path, config: ShipConfig, protocol: str, names: Sequence[str] = (), *, language: bool = True
) -> EvaluationReport:
    sets = named_uris(config.data, "Data sets")
    return evaluate(str(folder), {name: sets[name] for name in names or sets}, protocol, language=language)


if __name__ == "__main__":
    raise SystemExit(main())
