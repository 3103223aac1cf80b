"""What ranks tell each other, between real processes."""

import json
from pathlib import Path

import torch.distributed as dist
import torch.multiprocessing as mp

from pipeline.ranks import of_ranks, sums

VALUES = [[1.0, 2.5], [-3.0, 0.25], [1e9, 7.0]]


def one_rank(rank: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/store", len(VALUES))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=len(VALUES))
    group = dist.new_group(backend="gloo")
    told = [sums(VALUES[rank], group), of_ranks(VALUES[rank], group)]
    Path(folder, f"{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


def test_every_rank_learns_the_sums_and_whose_is_what(tmp_path: Path) -> None:
    mp.start_processes(one_rank, args=(str(tmp_path),), nprocs=len(VALUES), start_method="spawn")
    for rank in range(len(VALUES)):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [[999999998.0, 9.75], VALUES]


def test_a_single_rank_keeps_its_own() -> None:
    assert sums([1, 2.5], None) == [1.0, 2.5]
    assert of_ranks([1.0, 2.5], None) == [[1.0, 2.5]]
