"""A synthetic data set in storage: shards made on Ray, each once, whatever dies in between.

synthesis.json          what the data set is: whoever is first writes it, everybody else must agree
shards/000000.parquet   the rows
done/000000.json        written after its shard: checksum and tally; a shard without one is made again
manifest.json           last
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.errors import ConfigError, DataError, ObjectNotFoundError
from pipeline.fan_out import fan_out
from pipeline.manifest import Manifest, ShardInfo
from pipeline.memory import release_memory
from pipeline.shards import write_shard
from pipeline.storage import absolute, create_exclusive, join, list_objects, read_bytes, write_atomic
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import DRAWING, SynthesisConfig
from pipeline.synthesis.generator import generator
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
        for name in ("output", "assets"):  # workers stand in other folders
            object.__setattr__(self, name, absolute(getattr(self, name)))
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


def take_up(plan: DataSetPlan) -> dict[int, Made]:
    """Makes the folder this data set's, and finds the shards that are finished.

    Raises:
        ConfigError: The folder holds another data set.
        DataError: The assets are missing, or a record in the folder is damaged.
        StorageError: Reading or writing failed.
    """
    _claim(plan.output, _spec(plan))
    sizes = _listed(join(plan.output, "shards"))
    made: dict[int, Made] = {}
    for key, (uri, _) in _listed(join(plan.output, DONE)).items():
        try:
            record = json.loads(read_bytes(uri))
            shard = Made(ShardInfo(**record["shard"]), Tally.from_dict(record["tally"]))
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{uri} is damaged ({error!r}). Delete it: its shard is made again.") from error
        _, size = sizes.get(shard.info.name.rpartition("/")[2], ("", -1))
        if size == shard.info.bytes:
            made[int(key.removesuffix(".json"))] = shard
    return made


def synthesize(plan: DataSetPlan, made: Mapping[int, Made], on_shard: Callable[[Made], None]) -> Manifest:
    """Makes what is missing of a data set; Ray must be connected.

    Args:
        plan: The data set.
        made: The shards that are finished, as `take_up` found them.
        on_shard: Told of each shard that is made now.

    Raises:
        ConfigError: The config allows no pictures.
        DataError: The assets are damaged.
        LostTaskError: Processes die of a shard.
        StorageError: Reading or writing failed.
    """
    finished = dict(made)
    missing = [shard for shard in range(plan.shards) if shard not in finished]
    results = fan_out(make_shard, missing, plan, named=lambda shard: f"shard {shard} of {plan.output}")
    for place, result in results:
        finished[missing[place]] = result
        on_shard(result)
    manifest = Manifest(shards=tuple(shard.info for shard in finished.values()), config=_spec(plan))
    manifest.write(plan.output)
    return manifest


def make_shard(shard: int, plan: DataSetPlan) -> Made:
    """Makes one shard, and says so in storage; what runs on Ray."""
    made = generator(plan.config, plan.assets, plan.split, plan.seed)
    table = made.shard(shard, plan.rows_of(shard))
    release_memory()
    info, tally = write_shard(plan.output, shard, table), Tally.of(table)
    del table
    release_memory()
    record = {"shard": asdict(info), "tally": tally.to_dict()}
    text = json.dumps(record, ensure_ascii=False, sort_keys=True)
    write_atomic(join(plan.output, DONE, f"{shard:06d}.json"), text.encode())
    return Made(info, tally)


def _spec(plan: DataSetPlan) -> dict[str, Any]:
    """All that the shards depend on."""
    assets = Assets.open(plan.assets)
    names = ("rows", "shard_rows", "split", "seed")
    chosen = {name: getattr(plan, name) for name in names}
    spec = {**chosen, "assets": assets.fingerprint, "config": asdict(plan.config), "drawing": DRAWING}
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


def _listed(folder: str) -> dict[str, tuple[str, int]]:
    """URI and size of what is in a folder, by name; nothing where there is no folder."""
    try:
        return {stored.key: (stored.uri, stored.size) for stored in list_objects(folder)}
    except ObjectNotFoundError:
        return {}
