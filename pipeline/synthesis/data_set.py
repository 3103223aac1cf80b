"""A synthetic data set in storage: shards made on Ray, each once, whatever dies in between.

synthesis.json          what the data set is: whoever is first writes it, everybody else must agree
shards/000000.parquet   the rows
done/000000.json        written after its shard: checksum and tally; a shard without one is made again
manifest.json           last
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

from pipeline.errors import ConfigError, ObjectNotFoundError
from pipeline.fan_out import fan_out
from pipeline.manifest import NAME, Manifest, ShardInfo
from pipeline.shards import write_shard
from pipeline.storage import absolute, create_exclusive, exists, join, list_objects, read_bytes, write_atomic
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import SynthesisConfig
from pipeline.synthesis.generator import Generator
from pipeline.synthesis.split import Split
from pipeline.synthesis.tally import Tally

SPEC, DONE = "synthesis.json", "done"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSetPlan:
    """A data set to be made.

    Raises:
        ConfigError: A number can't work.
    """

    output: str
    """Folder URI."""
    rows: int
    shard_rows: int
    split: Split
    seed: int
    assets: str
    """Folder URI of the assets."""
    config: SynthesisConfig

    def __post_init__(self) -> None:
        if self.rows < 1 or self.shard_rows < 1:
            raise ConfigError(
                f"--rows and --shard-rows are at least 1; {self.rows}, {self.shard_rows} aren't."
            )

    @property
    def shards(self) -> int:
        """How many there are."""
        return -(-self.rows // self.shard_rows)

    def rows_of(self, shard: int) -> int:
        """Rows of a shard: all of the same size but the last."""
        return min(self.shard_rows, self.rows - shard * self.shard_rows)


@dataclass(frozen=True, slots=True)
class Made:
    """A finished shard."""

    info: ShardInfo
    tally: Tally
    seconds: float = 0.0
    """It took to make it now; 0 where it was there."""


def synthesize(plan: DataSetPlan, on_shard: Callable[[Made], None]) -> Manifest:
    """Makes what is missing of a data set; Ray must be connected.

    Args:
        plan: The data set.
        on_shard: Told of every shard, those that were there before first.

    Raises:
        ConfigError: The folder holds another data set, or the config allows no pictures.
        DataError: The assets are missing or damaged.
        StorageError: Reading or writing failed.
    """
    plan = replace(plan, output=absolute(plan.output), assets=absolute(plan.assets))
    spec = _spec(plan, Assets.open(plan.assets))
    _claim(plan.output, spec)
    made = _found(plan)
    for shard in sorted(made):
        on_shard(made[shard])
    missing = [shard for shard in range(plan.shards) if shard not in made]
    for place, result in fan_out(make_shard, missing, plan):
        made[missing[place]] = result
        on_shard(result)
    if exists(join(plan.output, NAME)):
        return Manifest.read(plan.output)
    manifest = Manifest(shards=tuple(made[shard].info for shard in range(plan.shards)), config=spec)
    manifest.write(plan.output)
    return manifest


def make_shard(shard: int, plan: DataSetPlan) -> Made:
    """Makes one shard, and says so in storage; what runs on Ray."""
    began = time.monotonic()
    table = _generator(plan.config, plan.assets, plan.split, plan.seed).shard(shard, plan.rows_of(shard))
    info, tally = write_shard(plan.output, shard, table), Tally.of(table)
    record = {"shard": asdict(info), "tally": tally.to_dict()}
    text = json.dumps(record, ensure_ascii=False, sort_keys=True)
    write_atomic(join(plan.output, DONE, f"{shard:06d}.json"), text.encode())
    return Made(info, tally, time.monotonic() - began)


@lru_cache(maxsize=1)
def _generator(config: SynthesisConfig, assets: str, split: Split, seed: int) -> Generator:
    """One a process: the next shard of the same data set starts at once."""
    return Generator(config, Assets.open(assets), split, seed)


def _spec(plan: DataSetPlan, assets: Assets) -> dict[str, Any]:
    """All that the shards depend on."""
    names = ("rows", "shard_rows", "split", "seed")
    chosen = {name: getattr(plan, name) for name in names}
    spec = {**chosen, "assets": assets.fingerprint, "config": asdict(plan.config)}
    plain: dict[str, Any] = json.loads(json.dumps(spec))
    return plain


def _claim(output: str, spec: dict[str, Any]) -> None:
    if create_exclusive(join(output, SPEC), json.dumps(spec, indent=1, ensure_ascii=False).encode()):
        return
    found = json.loads(read_bytes(join(output, SPEC)))
    different = sorted(key for key in spec.keys() | found.keys() if spec.get(key) != found.get(key))
    if different:
        raise ConfigError(
            f"{output} holds a data set made with another {', '.join(different)}. Give another --output, or "
            "the same values as then to go on with it."
        )


def _found(plan: DataSetPlan) -> dict[int, Made]:
    """The shards that are finished."""
    folder = join(plan.output, DONE)
    try:
        names = {stored.key: stored.uri for stored in list_objects(folder)}
    except ObjectNotFoundError:
        return {}
    made: dict[int, Made] = {}
    for key, uri in names.items():
        record = json.loads(read_bytes(uri))
        made[int(key.removesuffix(".json"))] = Made(
            ShardInfo(**record["shard"]), Tally.from_dict(record["tally"])
        )
    return made
