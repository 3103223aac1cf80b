"""A rehearsal finds what the run itself would do, and leaves nothing behind."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError, DataError
from pipeline.rehearsal import rehearse
from pipeline.runs import claim
from pipeline.train_config import TrainConfig
from pipeline.train_plan import draw_up, plan_run
from tests.datasets import word_rows, write_data_set
from tests.rehearsals import rehearsal

WORDS = [f"w{i:02d}" for i in range(48)]
"""Of one width, so that all windows are cut alike."""


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    rows: list[dict[str, Any]] = word_rows(WORDS)
    rows[3]["text"] = "é"
    write_data_set(str(tmp_path / "many"), rows, shard_rows=16)
    write_data_set(str(tmp_path / "few"), word_rows(WORDS[:6], "few"), shard_rows=16)
    write_data_set(str(tmp_path / "held_out"), word_rows(WORDS[:9], "held"), shard_rows=16)
    return TrainConfig(
        name="run",
        data=(f"many:3={tmp_path / 'many'}", f"few:1={tmp_path / 'few'}"),
        validation=(f"held_out={tmp_path / 'held_out'}",),
        output=str(tmp_path / "runs"),
        network="tiny",
        charset="alnum36",
        images=100,
        window_rows=24,
        pack_columns=256,
        save_every=50,
        workers=2,
        check_batch=True,
    )


def test_a_rehearsal_finds_what_the_run_will_do_and_leaves_nothing(
    config: TrainConfig, tmp_path: Path
) -> None:
    found = rehearse(draw_up(config))
    assert not (tmp_path / "runs").exists()
    assert {label: (a.read, a.kept) for label, a in found.audits.items()} == {"few": (6, 6), "many": (48, 47)}
    assert found.audits["many"].outside == {"é": 1}
    assert found.held_out["held_out"].kept == 9
    assert (found.images, found.windows, found.looks) == (120, 5, 3)
    assert found.times == {"few": 5.0, "many": pytest.approx(90 / 47)}
    windows = found.plan.windows(found.audits)
    packs = [len(list(found.plan.packer.packs(window))) for window in windows]
    assert found.pace.packs == packs[0]
    assert found.steps == -(-sum(packs) // 2)
    assert (found.before, found.over) == (0, False)
    assert found.seconds > 0
    assert found.by_heart is not None
    assert found.by_heart.learnt


def test_what_a_start_would_refuse_a_rehearsal_refuses(config: TrainConfig, tmp_path: Path) -> None:
    plan_run(config)
    with pytest.raises(ConfigError, match="another data "):
        rehearse(draw_up(replace(config, data=(str(tmp_path / "many"),))))
    claim(str(tmp_path / "runs" / "other"), {})
    with pytest.raises(ConfigError, match="another charset, data"):
        rehearse(draw_up(replace(config, name="other")))
    write_data_set(str(tmp_path / "bad"), word_rows(["é"]), shard_rows=16)
    with pytest.raises(DataError, match=r"none of 1 rows can be learnt from .*\)\. Does the charset fit"):
        rehearse(draw_up(replace(config, name="bad", data=(str(tmp_path / "bad"),))))
    assert not (tmp_path / "runs" / "bad").exists()


def test_the_time_is_that_of_steps_and_looks_that_are_left() -> None:
    # 50 images/s of steps and 4,000 of packing on the same CPUs, ten looks at 3,000 words at 150/s.
    assert rehearsal().images_per_s == pytest.approx(1 / (1 / 50 + 1 / 4_000))
    assert rehearsal().seconds == pytest.approx(1_000_000 * (1 / 50 + 1 / 4_000) + 10 * 3_000 / 150)
    assert rehearsal(before=900_000).seconds == pytest.approx(100_000 * (1 / 50 + 1 / 4_000) + 3_000 / 150)
    assert rehearsal(over=True).seconds == 0
    plan = rehearsal().plan
    short = replace(plan, config=replace(plan.config, minutes=20.0, save_every=20_000))
    found = rehearsal(plan=short)
    assert found.images == round(1_200 * found.images_per_s) == 59_259
    assert found.seconds == pytest.approx(1_200 + 3 * 3_000 / 150, abs=0.1)
    assert (found.looks, found.steps) == (3, math.ceil(62 * 128 * 59_259 / 1_000_000))
    assert found.times["train"] == pytest.approx(0.59259)
    # What earlier starts took counts.
    again = rehearsal(plan=short, before=40_000, spent_s=800.0)
    assert again.images == 40_000 + round(400 * found.images_per_s)
    assert again.seconds == pytest.approx(400 + 3_000 / 150, abs=0.1)
    assert rehearsal(plan=short, before=58_000, spent_s=1_300.0).images == 58_000
    assert rehearsal(plan=replace(short, config=replace(short.config, minutes=900.0))).images == 1_000_000
    # GPUs step while CPUs pack: the slower of the two is the rate.
    gpus = replace(plan, config=replace(plan.config, gpu=True, workers=2))
    assert rehearsal(plan=gpus).images_per_s == pytest.approx(100)
