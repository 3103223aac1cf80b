"""The list of checkpoints is mended when it isn't what lies there, and left alone when it is."""

import json
import shutil
from pathlib import Path

import pytest
import ray.train
import torch

from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.model import seeded
from crnn.networks import TINY
from crnn.preprocess import PreprocessConfig
from pipeline import resume
from pipeline.errors import CheckpointError
from pipeline.runs import SNAPSHOT
from pipeline.snapshot import mend_snapshot
from pipeline.tracking import MetricPoint

SCORE = "validation/words/word_accuracy"
NAMES = [f"checkpoint_2026-01-0{day}_00-00-00.000000" for day in (1, 2, 3)]
ACCURACIES = [0.2, 0.5, 0.4]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with three checkpoints, the second of them the best."""
    weights = seeded(TINY, ALNUM36.num_classes, 0).state_dict()
    bundle = Bundle(network=TINY, charset=ALNUM36, preprocess=PreprocessConfig(), weights=weights)
    results = []
    for step, (name, accuracy) in enumerate(zip(NAMES, ACCURACIES, strict=True), start=1):
        (tmp_path / name).mkdir()
        history = [MetricPoint(SCORE, 0.1, 0, 1), MetricPoint(SCORE, accuracy, step, 2)]
        history.append(MetricPoint("train/images_seen", 100.0 * step, step, 2))
        progress = resume.Progress(images=100 * step, history=history)
        resume.write_rank(tmp_path / name, 0, progress)
        resume.write_shared(tmp_path / name, {"steps": step}, progress, bundle, {}, ranks=1)
        metrics = {SCORE: accuracy, "step": step, "images_seen": 100.0 * step}
        results.append({"version": 0, "checkpoint_dir_name": name, "metrics": metrics})
    ordered = [results[i] for i in (0, 2, 1)]
    listed = {"ray_version": ray.__version__, "checkpoint_results": ordered, "current_report_index": 3}
    listed |= {"checkpoint_report_indices": [0, 2, 1], "latest_checkpoint_result": results[2]}
    empty = ("pending_training_results", "pending_validation_specs", "validated_checkpoint_dir_names")
    empty += ("timed_out_validation_checkpoint_dir_names", "failed_validation_checkpoint_dir_names")
    listed |= {name: [] for name in empty}
    (tmp_path / SNAPSHOT).write_text(json.dumps(listed))
    return tmp_path


def found(run: Path) -> tuple[str | None, dict[str, float]]:
    """The checkpoint that Ray would go on from, and the score of each that it knows."""
    result = ray.train.Result.from_path(str(run))
    latest = result.checkpoint and Path(result.checkpoint.path).name
    return latest, {Path(c.path).name: m[SCORE] for c, m in result.best_checkpoints or []}


def test_a_list_of_what_is_there_is_left_alone(run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = (run / SNAPSHOT).read_bytes()
    mend_snapshot(str(run), SCORE)
    assert (run / SNAPSHOT).read_bytes() == before
    assert found(run) == (NAMES[2], dict(zip(NAMES, ACCURACIES, strict=True)))
    mend_snapshot(str(tmp_path_factory.mktemp("new")), SCORE)


def test_what_a_damaged_checkpoint_advises_leads_to_the_one_before_it(run: Path) -> None:
    state = run / NAMES[2] / resume.STATE
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="Delete that checkpoint's folder to go on from the one before"):
        resume.read(run / NAMES[2], torch.device("cpu"))
    shutil.rmtree(run / NAMES[2])
    mend_snapshot(str(run), SCORE)
    assert found(run) == (NAMES[1], dict(zip(NAMES[:2], ACCURACIES[:2], strict=True)))


@pytest.mark.parametrize("size", [0, 40])
def test_a_list_that_is_cut_short_is_made_anew_from_the_checkpoints(run: Path, size: int) -> None:
    (run / SNAPSHOT).write_bytes((run / SNAPSHOT).read_bytes()[:size])
    (run / NAMES[0] / resume.STATE).unlink()  # of a checkpoint that was being deleted
    mend_snapshot(str(run), SCORE)
    assert found(run) == (NAMES[2], dict(zip(NAMES[1:], ACCURACIES[1:], strict=True)))


@pytest.mark.parametrize("name", [resume.STATE, resume.HISTORY, "position-00000.json", "bundle/bundle.json"])
@pytest.mark.parametrize("left", [None, 20])
def test_a_checkpoint_whose_upload_was_cut_off_is_not_picked_up(
    run: Path, name: str, left: int | None
) -> None:
    (run / SNAPSHOT).write_bytes(b"")
    file = run / NAMES[2] / name
    if left is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:left])
    mend_snapshot(str(run), SCORE)
    assert found(run) == (NAMES[1], dict(zip(NAMES[:2], ACCURACIES[:2], strict=True)))


def test_a_list_that_is_made_anew_knows_the_rate_of_the_whole_run(run: Path) -> None:
    """600 images in 6 s, 300 in 9 s, and a moment in which nothing was learnt."""
    points = [(6.0, 1, 600.0), (15.0, 2, 900.0), (15.1, 3, 900.0)]
    rates = {1: 100.0, 2: 300 / 9.0, 3: 0.0}
    history = [MetricPoint(SCORE, 0.4, 3, 3)]
    for seconds, step, seen in points:
        history += [MetricPoint("train/images_seen", seen, step, int(1_000 * seconds))]
        history += [MetricPoint("train/images_per_s", rates[step], step, int(1_000 * seconds))]
    lines = [json.dumps([p.key, p.value, p.step, p.timestamp_ms]) for p in history]
    (run / NAMES[2] / resume.HISTORY).write_text("\n".join(lines))
    (run / SNAPSHOT).write_bytes(b"")
    mend_snapshot(str(run), SCORE)
    last = ray.train.Result.from_path(str(run)).metrics or {}
    assert last["images_per_s"] == pytest.approx(900 / 15)
    assert {"step", "images_seen"} <= last.keys()  # whoever marks the run finished asks for them


def test_without_any_checkpoint_the_run_starts_over(run: Path) -> None:
    for name in NAMES:
        shutil.rmtree(run / name)
    mend_snapshot(str(run), SCORE)
    assert found(run) == (None, {})


def test_a_checkpoint_that_was_not_scored_comes_last(run: Path) -> None:
    (run / SNAPSHOT).write_bytes(b"")
    progress = resume.Progress(images=900, history=[MetricPoint("train/images_seen", 900.0, 9, 3)])
    history = [json.dumps([p.key, p.value, p.step, p.timestamp_ms]) for p in progress.history]
    (run / NAMES[2] / resume.HISTORY).write_text("\n".join(history))
    mend_snapshot(str(run), SCORE)
    listed = json.loads((run / SNAPSHOT).read_text())["checkpoint_results"]
    assert [result["checkpoint_dir_name"] for result in listed] == [NAMES[2], NAMES[0], NAMES[1]]
