"""Word images by the million: shards in Parquet, each again from its seed.

python jobs/synthesize.py scene --rows 1000000 --output out/data/train --seed 7
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from jobs.cli import Progress, cell, parse_recipe, table
from jobs.runtime import ExitCode, connect_ray, run_job
from pipeline import provenance
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.mlflow_run import check_name
from pipeline.pictures import Word, word_sheet
from pipeline.storage import join, write_atomic
from pipeline.synthesis.asset_builder import default_assets
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import SynthesisConfig
from pipeline.synthesis.data_set import DataSetPlan, Made, synthesize, take_up
from pipeline.synthesis.generator import Generator
from pipeline.synthesis.presets import PRESETS
from pipeline.synthesis.split import Split
from pipeline.synthesis.tally import Tally
from pipeline.tracking import DataInput, MetricPoint, Tracker, TrackerConfig, flatten, resolve_tracking_uri

SHEET, SHOWN = "sheet.png", 128
_MOST_NAME = 100
"""Characters of the folder's name in the run's, which has a limit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesizeConfig:
    """Makes a data set of synthetic words, or goes on making it."""

    output: str
    """URI of the folder that becomes the data set."""
    rows: int = 100_000
    """Pictures to make."""
    seed: int = 7
    """Another seed is another data set."""
    split: Split = "train"
    """Words and font designs are either for training or for validation, never both."""
    assets: str | None = None
    """URI of a folder that jobs/assets.py made; of this machine's fonts, in out/assets, by default."""
    shard_rows: int = 20_000
    """Pictures of a shard; the order of magnitude of 20 MB."""
    preview: int | None = None
    """Draw a sheet of so many pictures to <output>/sheet.png, and nothing else."""
    only: str | None = None
    """Give every picture these effects alone, such as curve,perspective, so that they can be judged."""
    experiment: str = "crnn"
    """MLflow experiment."""
    tracking: str | None = None
    """MLflow tracking URI; MLFLOW_TRACKING_URI, else a local SQLite file, where not given."""
    pictures: SynthesisConfig = field(default_factory=SynthesisConfig)
    """What they look like."""

    def __post_init__(self) -> None:
        check_name(self.experiment)
        if self.preview is not None and not 1 <= self.preview <= 1_024:
            raise ConfigError(f"--preview draws 1 to 1,024 pictures; {self.preview} isn't.")


def recipe(preset: str) -> SynthesizeConfig:
    """A preset as the job's config."""
    return SynthesizeConfig(output=f"out/data/{preset}", pictures=PRESETS[preset]())


def scene() -> SynthesizeConfig:
    """Words as on signs, shop fronts and packages, photographed by anybody."""
    return recipe("scene")


def document() -> SynthesizeConfig:
    """Words as on printed pages, scanned or photographed."""
    return recipe("document")


def easy() -> SynthesizeConfig:
    """Plain words of letters and digits, which a small network learns to read in minutes."""
    return recipe("easy")


RECIPES = {"scene": scene, "document": document, "easy": easy}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code says how it ended."""
    return run_job(lambda: run(parse_recipe(RECIPES, argv, "jobs/synthesize.py")))


def run(config: SynthesizeConfig) -> int:
    """Makes the data set and says what is in it."""
    if config.preview is None:
        resolve_tracking_uri(config.tracking)  # refuses what can't be used before anything is made
    assets = default_assets() if config.assets is None else Assets.open(config.assets)
    pictures = config.pictures
    if config.only is not None:
        pictures = replace(pictures, chances=pictures.chances.only(tuple(config.only.split(","))))
    generator = Generator(pictures, assets, config.split, config.seed)  # refuses what can't work, at once
    if config.preview is not None:
        where = join(config.output, SHEET)
        write_atomic(where, sheet(generator, config.preview))
        print(f"{config.preview} pictures: {where}")
        return ExitCode.OK
    plan = DataSetPlan(
        output=config.output,
        rows=config.rows,
        shard_rows=config.shard_rows,
        split=config.split,
        seed=config.seed,
        assets=assets.uri,
        config=pictures,
    )
    finished = take_up(plan)
    total = sum((made.tally for made in finished.values()), Tally())
    before = total.rows

    def on_shard(made: Made) -> None:
        nonlocal total
        total += made.tally
        progress.update(total.rows, redrawn=f"{1 - total.rows / total.draws:.1%}")

    with connect_ray(), Progress(config.rows, "images", start=before) as progress:
        began = time.monotonic()
        manifest = synthesize(plan, finished, on_shard)
        seconds = time.monotonic() - began
    png = sheet(generator, min(SHOWN, config.rows))
    write_atomic(join(config.output, SHEET), png)
    print(tell(config, manifest, total, before, seconds))
    track(config, manifest, total, png, assets)
    return ExitCode.OK


def sheet(generator: Generator, count: int) -> bytes:
    """A PNG with the first pictures of the data set."""
    pictures = [sample.picture for sample in generator.samples(0, count)]
    words = [Word(image=p.image[..., ::-1] if p.image.ndim > 2 else p.image, truth=p.label) for p in pictures]
    return word_sheet(words, columns=8)


def tell(config: SynthesizeConfig, manifest: Manifest, total: Tally, before: int, seconds: float) -> str:
    """What is in the data set, for a person."""
    lengths, effects = length_rows(total), effect_rows(total)
    size = sum(shard.bytes for shard in manifest.shards)
    rarest = sorted(total.characters.items(), key=lambda item: item[1])[:5]
    facts = [
        ("images", f"{cell(manifest.rows)} in {cell(len(manifest.shards))} shards"),
        ("made before", cell(before)),
        ("images/s", cell((total.rows - before) / seconds) if total.rows > before else "-"),
        ("redrawn", f"{1 - total.rows / total.draws:.1%}"),
        ("bytes", f"{cell(size)}, {cell(round(size / manifest.rows))} an image"),
        ("mean width", f"{total.columns / total.rows:.0f} px"),
        ("characters", f"{len(total.characters)}, rarest {', '.join(f'{c} {cell(n)}' for c, n in rarest)}"),
        ("fingerprint", manifest.fingerprint),
        ("data set", config.output),
        ("pictures", join(config.output, SHEET)),
    ]
    width = max(len(name) for name, _ in facts)
    told = [f"{name.ljust(width)}  {value}" for name, value in facts]
    tables = [table(("characters", "images %"), lengths), "", table(("effect", "images %"), effects), ""]
    return "\n".join([*tables, *told])


def length_rows(total: Tally) -> list[tuple[str, float]]:
    """Share of the images by length of their text, in %."""
    bins = ((1, 1), (2, 3), (4, 6), (7, 9), (10, 14), (15, 99))
    shares = [(a, b, sum(n for length, n in total.lengths.items() if a <= length <= b)) for a, b in bins]
    return [(f"{a}-{b}" if b > a else str(a), round(100 * n / total.rows, 1)) for a, b, n in shares]


def effect_rows(total: Tally) -> list[tuple[str, float]]:
    """Share of the images that have each effect, in %."""
    return [(name, round(100 * count / total.rows, 1)) for name, count in total.effects.most_common()]


def track(config: SynthesizeConfig, manifest: Manifest, total: Tally, png: bytes, assets: Assets) -> None:
    """Logs the data set as a run of its own."""
    folder = Path(config.output).name.replace("'", "")[:_MOST_NAME]
    name = f"synthesize {folder} {manifest.fingerprint[:8]}"
    tracker = Tracker(
        TrackerConfig(
            tracking_uri=resolve_tracking_uri(config.tracking), experiment=config.experiment, run_name=name
        )
    )
    made = DataInput(
        name=name, uri=config.output, fingerprint=manifest.fingerprint, context="made", rows=manifest.rows
    )
    tracker.open_run(
        params=flatten(asdict(config)),
        tags={**provenance.collect().tags(), "crnn.assets": assets.fingerprint},
        inputs=[made],
    )
    now = time.time_ns() // 1_000_000
    shares = {f"share/{effect}": share / 100 for effect, share in effect_rows(total)}
    numbers = {"rows": total.rows, "redrawn": 1 - total.rows / total.draws, **shares}
    tracker.log_points(MetricPoint(key, float(value), 0, now) for key, value in numbers.items())
    tracker.log_picture("sheet", 0, png)
    tracker.log_text("tally.json", json.dumps(total.to_dict(), ensure_ascii=False, indent=1))
    tracker.finish("FINISHED")


if __name__ == "__main__":
    raise SystemExit(main())
