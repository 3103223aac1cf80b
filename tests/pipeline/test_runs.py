"""A run's folder belongs to one run, and says when it is over."""

import json
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.train

from pipeline.errors import ConfigError
from pipeline.order import Position
from pipeline.runs import (
    SNAPSHOT,
    CheckpointFiles,
    claim,
    finished,
    latest_position,
    mark_finished,
    progress,
)

IDENTITY = {"data": "abc", "charset": "def", "order": [1, 2]}


def test_a_folder_is_claimed_once_and_taken_up_again_by_the_same_run(tmp_path: Path) -> None:
    for _ in range(2):
        claim(str(tmp_path / "run"), IDENTITY)


def test_another_run_is_refused_and_what_differs_is_named(tmp_path: Path) -> None:
    claim(str(tmp_path), IDENTITY)
    with pytest.raises(ConfigError, match=r"another data, order .*\"abc\" there, \"xyz\" now.*--name"):
        claim(str(tmp_path), IDENTITY | {"data": "xyz", "order": [1, 3]})


def test_a_run_is_over_when_it_was_marked_so(tmp_path: Path) -> None:
    run = str(tmp_path)
    assert finished(run) is None
    best, last = (ray.train.Checkpoint(str(tmp_path / name)) for name in ("checkpoint_1", "checkpoint_2"))
    seen = {"images_seen": 120, "images_per_s": 3.5}
    seen["step"] = 7
    marked = mark_finished(
        run,
        best,
        {"accuracy": 1, "note": "x"},
        last,
        seen,
        images=100,
        minutes=5.0,
        patience=3,
        ended="patience",
    )
    assert finished(run) == marked
    assert marked.reaches(100, 5.0, 3)
    assert marked.reaches(90, 4.0, 2)
    further = [(101, 5.0, 3), (100, 6.0, 3), (100, None, 3), (100, 5.0, 4), (100, 5.0, None)]
    assert not any(marked.reaches(*ends) for ends in further)
    assert (marked.ended, marked.step) == ("patience", 7)
    assert marked.metrics == {"accuracy": 1.0}
    assert (marked.images_seen, marked.images_per_s) == (120, 3.5)
    assert marked.checkpoint_uri == f"{tmp_path}/checkpoint_1"
    assert marked.last_uri == f"{tmp_path}/checkpoint_2"


def test_a_finished_run_may_be_moved(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    best, last = (ray.train.Checkpoint(str(here / name)) for name in ("checkpoint_1", "checkpoint_2"))
    seen = {"images_seen": 120, "images_per_s": 3.5, "step": 7}
    ends: dict[str, Any] = {"images": 100, "minutes": None, "patience": None, "ended": "images"}
    mark_finished(str(here), best, {}, last, seen, **ends)
    here.rename(there)
    found = finished(str(there))
    assert found is not None
    assert (found.checkpoint_uri, found.last_uri) == (f"{there}/checkpoint_1", f"{there}/checkpoint_2")


def test_a_run_that_was_never_started_has_no_position(tmp_path: Path) -> None:
    assert latest_position(str(tmp_path / "nothing")) is None
    assert latest_position(str(tmp_path)) is None


def checkpoint_of(run: Path, number: int) -> None:
    """A checkpoint of two ranks, noted as Ray Train notes it: in place, before the one ahead is deleted."""
    name = f"checkpoint_{number}"
    (run / name).mkdir()
    for rank in range(2):
        position = Position(through=number, packs={number: {rank}}, sizes={number: 4})
        (run / name / f"position-{rank:05d}.json").write_text(json.dumps(position.to_dict()))
    result = {"checkpoint_dir_name": name, "metrics": {}}
    snapshot = {"checkpoint_results": [result], "checkpoint_report_indices": [number]}
    snapshot |= {"latest_checkpoint_result": result, "current_report_index": number}
    snapshot |= {"pending_training_results": [], "pending_validation_specs": []}
    for kind in ("validated", "timed_out_validation", "failed_validation"):
        snapshot[f"{kind}_checkpoint_dir_names"] = []
    (run / SNAPSHOT).write_text(json.dumps({"ray_version": ray.__version__} | snapshot))


def test_a_run_that_goes_on_may_delete_what_is_being_read(tmp_path: Path) -> None:
    checkpoint_of(tmp_path, 0)

    def go_on() -> None:
        for number in range(1, 60):
            checkpoint_of(tmp_path, number)
            time.sleep(0.05)
            shutil.rmtree(tmp_path / f"checkpoint_{number - 1}")

    with ThreadPoolExecutor() as threads:
        run = threads.submit(go_on)
        read = []
        while not run.done():
            read.append(latest_position(str(tmp_path)))
        run.result()
    read.append(latest_position(str(tmp_path)))
    seen = [position for position in read if position is not None]
    assert len(seen) == len(read)
    assert [p.through for p in seen] == sorted(p.through for p in seen)
    assert all(p.packs == {p.through: {0, 1}} for p in seen)
    assert seen[-1].through == 59


def test_a_checkpoint_that_lacks_a_file_is_not_read_for_ever(tmp_path: Path) -> None:
    checkpoint_of(tmp_path, 0)
    with pytest.raises(FileNotFoundError, match="history"):
        progress(str(tmp_path))


def test_what_a_run_has_seen_and_how_long_it_took_stands_in_its_last_checkpoint(tmp_path: Path) -> None:
    assert progress(str(tmp_path)) == (0, 0.0)
    checkpoint_of(tmp_path, 0)
    # Two intervals of 10 and 20 s, and one of which nothing is left to tell its rate.
    points = [("images_seen", 100, 5), ("images_per_s", 10.0, 5), ("loss", 1.0, 5), ("images_seen", 140, 9)]
    points += [("images_per_s", 2.0, 9), ("images_seen", 140, 9)]
    lines = [json.dumps([f"train/{key}", value, step, 0]) for key, value, step in points]
    (tmp_path / "checkpoint_0" / "history.jsonl").write_text("\n".join(lines))
    assert progress(str(tmp_path)) == (140, 30.0)


def test_pictures_are_found_by_set_and_step(tmp_path: Path) -> None:
    for name in ("pictures/svt/000000020.png", "pictures/held_out/000000020.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode())
    found = CheckpointFiles.at(str(tmp_path)).pictures()
    assert found == {
        ("svt", 20): b"pictures/svt/000000020.png",
        ("held_out", 20): b"pictures/held_out/000000020.png",
    }
    assert CheckpointFiles.at(str(tmp_path / "pictures")).pictures() == {}
    assert CheckpointFiles.at(str(tmp_path)).hardest() is None
