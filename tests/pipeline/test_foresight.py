"""What may go wrong is said before it is paid for, and nothing where all is well."""

from dataclasses import replace
from typing import Any

import pytest

from crnn.optimizer import OptimizerConfig
from pipeline.foresight import expected_characters, foresee
from pipeline.manifest import Manifest
from tests.rehearsals import COUNTS, SYNTHETIC, audited, manifest, rehearsal


def test_nothing_is_said_of_a_sound_run() -> None:
    assert list(foresee(rehearsal())) == []


def test_a_character_is_expected_as_often_as_all_sets_together_show_it() -> None:
    few = audited(characters=COUNTS | {"q": 7})
    found = expected_characters(rehearsal(audits={"a": audited(), "b": few}, often={"a": 0.5, "b": 3.0}))
    assert (found["q"], found["a"]) == (521, 3_500)


@pytest.mark.parametrize(
    ("audit", "times", "told"),
    [
        ({}, 0.25, "train is seen in part: 25.0% of its rows."),
        ({}, 412.3, "Each row of train comes 412 times"),
        (
            {"kept_per_shard": (90_000,), "rejected": {"outside_charset": 10_000}},
            10.0,
            "10.0% of train can't be learnt from: 10,000 outside_charset.",
        ),
        ({"tight": 2_500}, 10.0, "2.5% of train have less than twice the frames"),
        ({"characters": COUNTS | {"q": 0, "z": 9}}, 10.0, "never sees can't be learnt: q"),
        ({"characters": COUNTS | {"q": 0, "z": 9}}, 10.0, "less than 100 times will be read badly: z"),
    ],
)
def test_what_is_odd_about_the_data_is_said(audit: dict[str, Any], times: float, told: str) -> None:
    said = list(foresee(rehearsal(audits={"train": audited(**audit)}, often={"train": times})))
    assert any(told in sentence for sentence in said)


@pytest.mark.parametrize("times", [0.25, 412.3])
def test_how_often_the_sample_of_a_stream_would_come_is_nobodys_worry(times: float) -> None:
    stream = rehearsal(audits={"train": audited(endless=True)}, often={"train": times})
    assert list(foresee(stream)) == []


@pytest.mark.parametrize(
    ("held_out", "told"),
    [
        (manifest("a"), "held_out is train: "),
        (manifest("b", **SYNTHETIC), "held_out has the words and fonts of train"),
        (manifest("b", assets="other", split="validation"), "can't be told of held_out and train."),
        (manifest("b"), "can't be told of held_out and train."),
    ],
)
def test_held_out_words_that_may_have_been_learnt_are_said(held_out: Manifest, told: str) -> None:
    plan = replace(rehearsal().plan, held_out={"held_out": held_out})
    (said,) = foresee(rehearsal(plan=plan))
    assert told in said


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"optimizer": OptimizerConfig(warmup=0.002)}, "The warm-up lasts 16 of about 7,936 steps"),
        ({"save_every": 1_000_000}, "looked at once only"),
        ({"patience": 10}, "--patience 10 can't end a run of 10 looks"),
        ({"patience": 9}, None),
        ({"patience": 2, "minutes": 60.0}, "--patience 2 can't end a run of 2 looks"),
        ({"gpu": True, "workers": 2}, None),
    ],
)
def test_a_config_that_does_not_fit_the_run_is_said(change: dict[str, Any], told: str | None) -> None:
    plan = rehearsal().plan
    said = list(foresee(rehearsal(plan=replace(plan, config=replace(plan.config, **change)))))
    assert [told in sentence for sentence in said if told] == ([True] if told else [])


def test_gpus_that_would_wait_for_data_are_said() -> None:
    found = rehearsal()
    plan = replace(found.plan, config=replace(found.plan.config, gpu=True))
    pace = replace(found.pace, trained_per_s=60_000.0)
    (said,) = foresee(rehearsal(plan=plan, pace=pace))
    assert "4 CPUs pack about 3,000 images/s, steps take 60,000" in said
