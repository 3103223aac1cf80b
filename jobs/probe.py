"""The yardstick of synthesis and training: a small network, so many pictures, then real photographs.

python jobs/probe.py --name no-curve --assets out/assets --data svt=out/data/svt -- --pictures.chances.curve 0

What stands behind -- goes to jobs/synthesize.py scene, what is in --train to jobs/train.py probe: the change
whose effect is asked for.
"""

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from crnn.checkpoint import Bundle
from jobs import synthesize, train
from jobs.cli import parse_flags, table
from jobs.runtime import ExitCode, connect_ray, run_job
from pipeline import provenance, synthesis
from pipeline.bundles import save_bundle
from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport, evaluate
from pipeline.language import learn_language
from pipeline.manifest import Manifest
from pipeline.protocols import named_uris
from pipeline.resume import BUNDLE
from pipeline.runs import finished
from pipeline.storage import join, local_copy
from pipeline.synthesis.assets import Assets

TABLE = Path(__file__).parents[1] / "docs" / "probe.tsv"
"""Where the figures are kept, beside the code that they are of."""
RUN, READING, HELD_OUT = "run", "reading", 2_000
"""Names of the training run and of the bundle with a language model below the probe's folder; pictures of the
validation split."""
_FIXED = frozenset({"--name", "--output", "--data", "--validation", "--images", "--save-every", "--seed"})
_DRAWN = frozenset({"--output", "--rows", "--seed", "--split", "--assets", "--pictures.coding"})
"""Flags of the two jobs that the probe sets itself."""
_READ = ("accuracy %", "with language %")
"""By the network alone, best path; and, uncalibrated, with further looks and a language model of as many
strings as the network saw pictures. That model knows the held-out words."""
Reports = tuple[EvaluationReport, EvaluationReport]
"""Of the same sets, in the order of `_READ`."""
COLUMNS: tuple[str, ...] = ("name", "change", "images", "seed", "set", "words", *_READ, "data", "revision")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeConfig:
    """Renders, trains and reads photographs: what a change of either is worth."""

    name: str
    """Of the change; the same name goes on where it stopped."""
    data: tuple[str, ...]
    """Photographs to read, as name=URI."""
    assets: str
    """URI of a folder that jobs/assets.py made."""
    images: int = 300_000
    """Pictures to render, and to see once each."""
    seed: int = 7
    """Names pictures, weights and order."""
    train: str = ""
    """Flags of jobs/train.py as one word, such as --train="--optimizer.ema-decay 0"."""
    output: str = "out/probe"
    """Folder for data sets and runs."""
    table: str = str(TABLE)
    """File of tab-separated values that the figures are added to."""

    def __post_init__(self) -> None:
        try:
            training = self.training
        except ValueError as error:
            raise ConfigError(f"--train {self.train!r}: {error}.") from error
        _refuse(_FIXED, training, "--train")

    @property
    def training(self) -> tuple[str, ...]:
        """Flags of jobs/train.py, apart."""
        return tuple(shlex.split(self.train))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the probe; its exit code is that of the first job that fails."""
    words = list(sys.argv[1:] if argv is None else argv)
    split = words.index("--") if "--" in words else len(words)
    own, change = words[:split], words[split + 1 :]
    return run_job(lambda: run(parse_flags(ProbeConfig, own, "jobs/probe.py"), change))


def run(config: ProbeConfig, change: Sequence[str]) -> int:
    """Probes, adds the figures to the table, and shows all that is in it."""
    _refuse(_DRAWN, change, "What stands behind --")
    path = Path(config.table)
    if any(line[0] == config.name for line in read_table(path)):
        raise ConfigError(f"{path} has a probe {config.name!r} already; take another --name.")
    commit, plus, changes = provenance.revision().partition("+")  # before an hour in which it may change
    revision = f"{commit[:12]}{plus}{changes}"
    folder = join(config.output, config.name)
    pictures = join(config.output, "pictures", _pictures(config, change))
    learnt, held_out = join(pictures, "train"), join(pictures, "held-out")
    with connect_ray():
        for job, arguments in _steps(config, folder, learnt, held_out, change):
            print(f"\n$ {job.__module__} {shlex.join(arguments)}", flush=True)
            if code := job(arguments):
                return code
        done = finished(join(folder, RUN))
        assert done is not None
        sets = {"held_out": held_out} | named_uris(config.data, "Data sets")
        model = _with_language(config, join(done.last_uri, BUNDLE), join(folder, READING))
        reports = evaluate(model, sets, language=False), evaluate(model, sets)
    what = (config.name, _told(config, change) or "none", str(config.images), str(config.seed))
    add_rows(path, what, Manifest.read(learnt).fingerprint, reports, revision)
    print(f"\n{table(COLUMNS, read_table(path))}")
    return ExitCode.OK


def _refuse(fixed: frozenset[str], words: Sequence[str], what: str) -> None:
    """Flags may be written with either - or _."""
    given = {word.partition("=")[0].replace("_", "-") for word in words}
    if own := sorted(fixed & given):
        raise ConfigError(f"{what} can't change {', '.join(own)}: that is the probe's own.")


def _steps(
    config: ProbeConfig, folder: str, learnt: str, held_out: str, change: Sequence[str]
) -> Iterator[tuple[Callable[[Sequence[str]], int], tuple[str, ...]]]:
    images, seed = str(config.images), ("--seed", str(config.seed))
    drawn = ("--assets", config.assets, "--pictures.coding", "raw", *change)
    few = str(min(HELD_OUT, config.images))
    yield synthesize.main, ("scene", "--output", learnt, "--rows", images, *seed, *drawn)
    yield synthesize.main, ("scene", "--output", held_out, "--rows", few, "--split", "validation", *drawn)
    sets = ("--data", learnt, "--validation", f"held_out={held_out}")
    # All shards, and no second round to make up for a few labels that can't be learnt from.
    enough = str(config.images - min(shard.rows for shard in Manifest.read(learnt).shards) + 1)
    length = ("--images", enough, "--save-every", images)
    yield train.main, ("probe", "--name", RUN, "--output", folder, *sets, *length, *seed, *config.training)


def _with_language(config: ProbeConfig, bundle_uri: str, folder: str) -> str:
    """Writes the bundle with a language model; returns its folder."""
    with local_copy(bundle_uri + "/") as found:
        bundle = Bundle.load(found).alone()
    drawn = Assets.open(config.assets)
    model = learn_language(drawn, bundle.charset, strings=config.images, seed=config.seed)
    save_bundle(replace(bundle, language=model), folder)
    return folder


def _pictures(config: ProbeConfig, change: Sequence[str]) -> str:
    """Names what is drawn by all that it depends on, the code included, so that probes of the same pictures
    share them."""
    digest = hashlib.sha256()
    for file in sorted(Path(synthesis.__path__[0]).glob("*.py")):
        digest.update(file.read_bytes())
    assets = Assets.open(config.assets).fingerprint
    digest.update(json.dumps([config.images, config.seed, assets, *change]).encode())
    return digest.hexdigest()[:12]


def _told(config: ProbeConfig, change: Sequence[str]) -> str:
    """The change as the command line has it."""
    if not config.train:
        return shlex.join(change)
    return shlex.join([f"--train={config.train}", *(["--", *change] if change else [])])


def read_table(path: Path) -> list[tuple[str, ...]]:
    """The rows of all probes so far, without the heading.

    Raises:
        ConfigError: The file's columns are others.
    """
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    heading, *rows = [tuple(line.split("\t")) for line in lines] or [COLUMNS]
    if heading != COLUMNS:
        raise ConfigError(f"{path} has other columns than {', '.join(COLUMNS)}; take another --table.")
    return rows


def add_rows(path: Path, what: Sequence[str], data: str, reports: Reports, revision: str) -> None:
    """Adds a row for each set; the file appears with its heading where there is none."""
    lines = [] if path.is_file() else [COLUMNS]
    for bare, full in zip(*(report.sets for report in reports), strict=True):
        rates = (f"{100 * part.counts.word_accuracy:.1f}" for part in (bare, full))
        row = (*what, bare.name, bare.counts.words, *rates, data[:12], revision)
        lines.append(tuple(map(str, row)))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines("\t".join(line) + "\n" for line in lines)


if __name__ == "__main__":
    raise SystemExit(main())
