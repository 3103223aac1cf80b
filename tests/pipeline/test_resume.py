"""A checkpoint holds all that a later start needs, of all ranks, and is refused when it isn't whole."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.model import seeded
from crnn.networks import SMALL
from crnn.preprocess import PreprocessConfig
from pipeline import resume
from pipeline.errors import CheckpointError
from pipeline.order import Position
from pipeline.tracking import MetricPoint


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    positions = [Position(), Position()]
    positions[0].consume(0, 0, 2)
    positions[1].consume(0, 1, 2)
    positions[1].consume(1, 3, 5)
    weights = seeded(SMALL, ALNUM36.num_classes, 0).state_dict()
    progress = resume.Progress(
        images=7, skipped_steps=1, seconds=1.5, history=[MetricPoint("train/loss", 0.5, 3, 99)]
    )
    bundle = Bundle(network=SMALL, charset=ALNUM36, preprocess=PreprocessConfig(), weights=weights)
    for rank, position in enumerate(positions):
        rejects = {"both": ("truncated", "cut"), f"rank {rank}": ("undecodable", "odd")}
        resume.write_rank(tmp_path, rank, replace(progress, position=position, rejects=rejects))
    state, pictures = {"network": weights, "steps": 3}, {"svt/000000003.png": b"png"}
    resume.write_shared(tmp_path, state, progress, bundle, pictures, ranks=2)
    return tmp_path


def test_what_was_written_comes_back_with_the_ranks_positions_merged(checkpoint: Path) -> None:
    state, progress = resume.read(checkpoint, torch.device("cpu"))
    assert state["steps"] == 3
    assert (progress.images, progress.skipped_steps, progress.seconds) == (7, 1, 1.5)
    odd = ("undecodable", "odd")
    assert progress.rejects == {"both": ("truncated", "cut"), "rank 0": odd, "rank 1": odd}
    assert progress.history == [MetricPoint("train/loss", 0.5, 3, 99)]
    assert progress.position == Position(through=1, packs={1: {3}}, sizes={1: 5})
    assert (checkpoint / "pictures" / "svt" / "000000003.png").read_bytes() == b"png"
    assert Bundle.load(checkpoint / resume.BUNDLE).network == SMALL


@pytest.mark.parametrize("name", [resume.STATE, resume.HISTORY])
def test_a_checkpoint_that_is_not_whole_is_refused_with_what_to_do(checkpoint: Path, name: str) -> None:
    data = (checkpoint / name).read_bytes()
    (checkpoint / name).write_bytes(b"[" + data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="not a whole training checkpoint"):
        resume.read(checkpoint, torch.device("cpu"))
    (checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match="Delete that checkpoint's folder"):
        resume.read(checkpoint, torch.device("cpu"))


@pytest.mark.parametrize("names", [["position-00001.json"], ["rejects-00000.json", "rejects-00001.json"]])
def test_a_checkpoint_that_lacks_what_a_worker_had_seen_is_refused(
    checkpoint: Path, names: list[str]
) -> None:
    for name in names:
        (checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match=r"json of [01] workers, not of 2\)\. Delete"):
        resume.read(checkpoint, torch.device("cpu"))


def test_a_checkpoint_of_before_the_number_of_workers_was_kept_needs_one_at_least(checkpoint: Path) -> None:
    saved = torch.load(checkpoint / resume.STATE, weights_only=True)
    del saved["ranks"]
    torch.save(saved, checkpoint / resume.STATE)
    assert resume.read(checkpoint, torch.device("cpu"))[1].position.through == 1
    for path in checkpoint.glob("position-*.json"):
        path.unlink()
    with pytest.raises(CheckpointError, match="of 0 workers"):
        resume.read(checkpoint, torch.device("cpu"))


def test_a_pickle_that_would_run_code_is_refused(checkpoint: Path) -> None:
    class Malice:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path(checkpoint / "owned").write_text, ("x",))

    torch.save({"learner": Malice(), "counters": {}}, checkpoint / resume.STATE)
    with pytest.raises(CheckpointError):
        resume.read(checkpoint, torch.device("cpu"))
    assert not (checkpoint / "owned").exists()
