"""The graph gives each pack of the run once, in its order, less what was consumed."""

from pathlib import Path

import pytest

from crnn.charset import ALNUM36
from crnn.networks import SMALL
from crnn.preprocess import PreprocessConfig
from pipeline.dataset import training_feed
from pipeline.labels import LabelRules
from pipeline.order import Position, plan_windows
from pipeline.packing import Packer, Source
from tests.datasets import word_rows, write_data_set

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
RULES = LabelRules(charset=ALNUM36, preprocess=PreprocessConfig(), network=SMALL)


@pytest.fixture(scope="module", autouse=True)
def cluster(local_ray: None) -> None:
    """Ray is there."""


def test_every_row_comes_once_an_epoch_and_consumed_packs_do_not(tmp_path: Path) -> None:
    manifest = write_data_set(str(tmp_path), word_rows([f"w{i}" for i in range(60)]), shard_rows=10)
    source = Source(uri=str(tmp_path), content=manifest)
    packer = Packer(sources=(source,), rules=RULES, pack_columns=256, seed=1)
    windows = plan_windows([10] * 6, images=120, window_rows=20, seed=1)
    rows = training_feed(packer, windows, Position()).take_all()
    for epoch in range(2):
        ids = [i for r in rows if r["window"] // 3 == epoch for i in r["ids"]]
        assert sorted(ids) == [f"word-{i:05d}" for i in range(60)]
    position = Position()
    for row in rows[::2]:
        position.consume(row["window"], row["pack"], row["packs_in_window"])
    position.through = 0
    left = training_feed(packer, windows, Position.merge([position])).take_all()

    def places(found: list[dict[str, int]]) -> set[tuple[int, int]]:
        return {(row["window"], row["pack"]) for row in found}

    assert places(left) == places(rows) - places(rows[::2])
    assert len(left) == len(places(left))
