"""A training run as its rehearsal finds it, made by hand."""

from typing import Any

from crnn.charset import ALNUM36
from pipeline.audit import Audit
from pipeline.manifest import Manifest, ShardInfo
from pipeline.rehearsal import Rehearsal
from pipeline.train_config import TrainConfig
from pipeline.train_plan import Plan
from pipeline.trial import Pace

SYNTHETIC = {"assets": "abc", "split": "train"}
COUNTS = dict.fromkeys(ALNUM36.characters, 1000)


def manifest(name: str, **config: Any) -> Manifest:
    """Of 100,000 rows; its fingerprint goes by the name alone."""
    return Manifest(
        shards=(ShardInfo(name="shards/000000.parquet", rows=100_000, bytes=9, sha256=name),), config=config
    )


def audited(**changes: Any) -> Audit:
    """Of rows that all can be learnt from, less what is changed."""
    good: dict[str, Any] = {
        "read": 100_000,
        "kept_per_shard": (100_000,),
        "rejected": {},
        "padding_share": 0.05,
        "longest": 12,
        "mean_width": 100.0,
        "tight": 0,
        "characters": COUNTS,
        "outside": {},
    }
    return Audit(**good | changes)


def rehearsal(**changes: Any) -> Rehearsal:
    """A run that nothing is to be said of, less what is changed."""
    config = TrainConfig(
        name="run", data=("train",), validation=("held_out=held_out",), charset="alnum36", images=1_000_000
    )
    plan = Plan(
        config=config,
        data={"train": manifest("a", **SYNTHETIC)},
        held_out={"held_out": manifest("b", **SYNTHETIC | {"split": "validation"})},
    )
    pace = Pace(
        device="2 CPUs", timed=9, trained_per_s=50.0, read_per_s=150.0, packed_per_s=1_000.0, packs=128
    )
    good: dict[str, Any] = {
        "plan": plan,
        "audits": {"train": audited()},
        "held_out": {"held_out": audited(read=3_000, kept_per_shard=(3_000,))},
        "planned": 1_000_000,
        "often": {"train": 10.0},
        "windows": 62,
        "before": 0,
        "spent_s": 0.0,
        "over": False,
        "parameters": 8_000_000,
        "flops": 10**9,
        "pace": pace,
        "cpus": 4,
        "by_heart": None,
    }
    return Rehearsal(**good | changes)
