import json
import resource
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import ConfigError, DataError, ManifestError, StorageError
from pipeline.manifest import Manifest
from pipeline.shards import read_shard
from pipeline.storage import join, read_bytes
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.data_set import DataSetPlan, Made, make_shard, synthesize, take_up
from pipeline.synthesis.generator import Generator
from pipeline.synthesis.presets import easy, scene
from pipeline.synthesis.tally import Tally


@pytest.fixture
def plan(tiny_assets: str, tmp_path: Path) -> DataSetPlan:
    """A data set of shards of 10, 10 and 5 rows."""
    return DataSetPlan(
        output=str(tmp_path / "out"),
        rows=25,
        shard_rows=10,
        split="train",
        seed=7,
        assets=tiny_assets,
        config=scene(),
    )


@pytest.fixture(scope="module")
def cluster(local_ray: None) -> None:
    """Ray is there."""


def finish(plan: DataSetPlan) -> tuple[Manifest, list[int]]:
    """The manifest, and the rows of each shard that had to be made."""
    made: list[int] = []
    return synthesize(plan, take_up(plan), lambda shard: made.append(shard.info.rows)), made


@pytest.mark.usefixtures("cluster")
def test_a_data_set_holds_what_its_generator_makes_and_says_what_it_was_made_of(plan: DataSetPlan) -> None:
    manifest, made = finish(plan)
    assert sorted(made) == [5, 10, 10]
    assert manifest == Manifest.read(plan.output)
    assert [shard.rows for shard in manifest.shards] == [10, 10, 5]
    generator = Generator(plan.config, Assets.open(plan.assets), "train", 7)
    for number, shard in enumerate(manifest.shards):
        found = read_shard(plan.output, shard)
        for name in ("id", "image", "text", "draw"):
            assert found[name].to_pylist() == generator.shard(number, shard.rows)[name].to_pylist()
    assert manifest.config["assets"] == Assets.open(plan.assets).fingerprint
    assert (manifest.config["rows"], manifest.config["seed"]) == (25, 7)


@pytest.mark.usefixtures("cluster")
def test_only_what_is_missing_is_made_and_the_manifest_is_an_undisturbed_runs(
    plan: DataSetPlan, tmp_path: Path
) -> None:
    finish(plan)
    whole = read_bytes(join(plan.output, "manifest.json"))
    folder = Path(plan.output)
    (folder / "manifest.json").unlink()
    assert finish(plan)[1] == []  # died before the manifest
    (folder / "done/000001.json").unlink()
    assert finish(plan)[1] == [10]  # died between a shard and its record
    (folder / "shards/000002.parquet").unlink()
    (folder / "shards/000000.parquet").write_bytes(b"half")
    assert sorted(finish(plan)[1]) == [5, 10]  # somebody lost a shard, and cut one short
    assert read_bytes(join(plan.output, "manifest.json")) == whole
    elsewhere = replace(plan, output=str(tmp_path / "elsewhere"))
    finish(elsewhere)
    assert read_bytes(join(elsewhere.output, "manifest.json")) == whole


@pytest.mark.usefixtures("cluster")
def test_a_bucket_gets_the_same_data_set_as_a_folder(plan: DataSetPlan, s3_bucket: str) -> None:
    away = replace(plan, output=f"{s3_bucket}/words")
    assert finish(away)[0] == finish(plan)[0]
    assert Manifest.read(away.output).fingerprint == Manifest.read(plan.output).fingerprint
    assert finish(away)[1] == []


def test_the_folder_of_another_data_set_is_refused_by_what_differs(plan: DataSetPlan) -> None:
    take_up(plan)
    for changed, told in (
        ({"seed": 8}, "another seed"),
        ({"rows": 26, "split": "validation"}, "another rows, split"),
        ({"config": easy()}, "another config"),
    ):
        with pytest.raises(ConfigError, match=f"made with {told}"):
            take_up(replace(plan, **changed))
    spec = Path(plan.output, "synthesis.json")
    made = json.loads(spec.read_text())
    for name in ("assets", "drawing"):
        spec.write_text(json.dumps(made | {name: "other"}))
        with pytest.raises(ConfigError, match=f"made with another {name}"):
            take_up(plan)
    spec.write_text(json.dumps({name: value for name, value in made.items() if name != "drawing"}))
    with pytest.raises(ConfigError, match="made with another drawing"):
        take_up(plan)


def test_an_unfinished_data_set_is_none(plan: DataSetPlan) -> None:
    take_up(plan)
    make_shard(0, plan)
    with pytest.raises(ManifestError, match="no finished data set"):
        Manifest.read(plan.output)


def test_a_shard_spoilt_later_is_refused_when_it_is_read(plan: DataSetPlan) -> None:
    info = make_shard(0, plan).info
    path = Path(plan.output, info.name)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"000000\.parquet isn't the file that the manifest names"):
        read_shard(plan.output, info)


def test_a_spoilt_record_is_named_with_what_to_do(plan: DataSetPlan) -> None:
    take_up(plan)
    make_shard(0, plan)
    Path(plan.output, "done/000000.json").write_text("{")
    with pytest.raises(DataError, match=r"000000\.json is damaged .* Delete it"):
        take_up(plan)


def test_a_full_disk_leaves_no_half_shard_and_no_record_of_it(plan: DataSetPlan) -> None:
    take_up(plan)
    # A file that reaches its size limit fails to be written as on a full disk.
    before, limit = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, limit[1]))
    try:
        with pytest.raises(StorageError, match=r"shards/000000\.parquet"):
            make_shard(0, plan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert [path.name for path in Path(plan.output).rglob("*") if path.is_file()] == ["synthesis.json"]
    assert take_up(plan) == {}


def test_what_was_made_is_told_as_it_was_counted(plan: DataSetPlan) -> None:
    take_up(plan)
    made = {shard: make_shard(shard, plan) for shard in (2, 0)}
    found: dict[int, Made] = take_up(plan)
    assert found == made
    assert sum((shard.tally for shard in found.values()), Tally()).rows == 15


@pytest.mark.parametrize("numbers", [{"rows": 0}, {"shard_rows": 0}, {"rows": -5}])
def test_a_data_set_has_rows_and_shards(plan: DataSetPlan, numbers: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        replace(plan, **numbers)  # type: ignore[arg-type]
