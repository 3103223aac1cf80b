"""Training on several data sets: each row as often as its set's weight says, whatever dies."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest
import ray
import ray.train

from pipeline.order import Position
from pipeline.runs import CheckpointFiles, latest_checkpoint, latest_position
from pipeline.train_config import TrainConfig
from pipeline.train_plan import plan_run
from tests.processes import kill_when
from tests.training_runs import WORKER, checkpoints, curve, saved, tiny_run, train, write_words

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context"),
    pytest.mark.timeout(900),  # two whole runs, each starting a dozen processes
]


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_words(tmp_path / "data")


@pytest.fixture
def config(data: Path, tmp_path: Path) -> TrainConfig:
    return tiny_run(data, tmp_path)


def test_a_run_on_a_mixture_that_died_goes_on_with_another_number_of_workers(
    config: TrainConfig, data: Path, tiny_assets: str
) -> None:
    sets = (f"many:0.5={data / 'train'}", f"few:0.25={data / 'few'}")
    config = replace(config, data=(*sets, f"made:0.25=synth://easy?assets={tiny_assets}&seed=3"))
    killed: list[int] = []
    killer = Thread(target=kill_when, args=(lambda: saved(config), WORKER), kwargs={"killed": killed})
    killer.start()
    with pytest.raises(ray.train.TrainingFailedError):
        train(replace(config, max_failures=0))
    killer.join()
    assert killed
    part = latest_position(config.run_uri)
    assert part is not None
    assert part.through < 6
    resumed_from = latest_checkpoint(config.run_uri)
    assert resumed_from is not None
    first_steps = max(p.step for p in CheckpointFiles.of(resumed_from).history())
    # Consuming a pack twice is an error in the worker, so that the end says: each exactly once.
    done = train(replace(config, workers=2))
    assert latest_position(config.run_uri) == Position(through=6)
    plan = plan_run(config)
    windows = plan.windows(done.audits)
    planned = [id_ for w in windows for t in plan.packer.packs(w) for id_ in t["ids"][0].as_py()]
    assert done.images_seen == len(planned)
    # Of every 80 rows 20 are of the few, which come four times, but for the one that can't be decoded.
    few = Counter(id_ for id_ in planned if id_.startswith("few/"))
    assert sorted(few.values()) == 29 * [4]
    made = Counter(id_ for id_ in planned if id_.startswith("made/train-3-"))
    assert sorted(made.values()) == 120 * [1]
    assert len(planned) - few.total() - made.total() in (238, 239)
    assert {label: (a.read, a.kept) for label, a in done.audits.items()} == {
        "few": (31, 30),
        "made": (4096, 4096),
        "many": (240, 237),
    }
    assert done.left_out == {"few": {"truncated": 1}, "made": {}, "many": {"truncated": 1}}
    for name, odd in (("few", "word-00004"), ("many", "word-00040")):
        found = pq.read_table(f"{config.run_uri}/audit/train/{name}/left-out.parquet").to_pylist()
        assert [row["id"] for row in found] == [odd]
    (epochs,) = ([v for _, v in curve(config, f"train/epochs/{name}")] for name in ("few",))
    assert epochs[-1] == pytest.approx(len(planned) * 0.25 / 30)
    steps = [step for step, _ in curve(config, "train/images_seen")]
    assert steps == sorted(set(steps))
    images = [value for _, value in sorted(curve(config, "train/images_seen"))]
    assert images == sorted(set(images))
    # The two ranks of the second start share the images of each step out among them.
    ranks = [dict(curve(config, f"train/rank_{rank}/images_per_s")) for rank in range(2)]
    together = dict(curve(config, "train/images_per_s"))
    assert ranks[0].keys() == ranks[1].keys() == {step for step in steps if step > first_steps}
    assert all(ranks[0][s] + ranks[1][s] == pytest.approx(together[s]) for s in ranks[0])
    assert curve(config, "train/rank_2/images_per_s") == []
    hardest = CheckpointFiles.at(str(checkpoints(config)[-1])).hardest()
    assert hardest is not None
    assert hardest.columns["loss"] == sorted(hardest.columns["loss"], reverse=True)
    assert set(hardest.columns["id"]) <= set(planned)
