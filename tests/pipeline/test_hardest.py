"""The hardest words are those with the highest losses, each once, whoever saw them and in whatever order."""

import io
import math
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from crnn.charset import ALNUM36
from crnn.decode import best_path
from crnn.model import seeded
from crnn.networks import TINY
from crnn.training import Batch
from pipeline.hardest import SHOWN, Hardest, show
from pipeline.packing import Pack

LOSSES = st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=30), max_size=6)


def pack_of(ids: list[int]) -> Pack:
    """Words whose images tell their ids."""
    pixels = np.stack([np.full((1, 32, 40), i % 256, np.uint8) for i in ids])
    batch = Batch(
        images_NCHW=torch.from_numpy(pixels),
        targets=torch.ones(len(ids), dtype=torch.int32),
        target_lengths=torch.ones(len(ids), dtype=torch.int32),
    )
    return Pack(
        window=0,
        pack=0,
        packs_in_window=1,
        batch=batch,
        ids=[f"id-{i:03d}" for i in ids],
        texts=[f"T{i}" for i in ids],
        rejects=[],
    )


@given(LOSSES, st.integers(20, 200))
def test_the_highest_losses_are_kept_each_word_once_at_its_worst(steps: list[list[int]], period: int) -> None:
    found, worst, count = Hardest(), dict[int, float](), 0
    for step, losses in enumerate(steps):
        ids = [(count + i) % period for i in range(len(losses))]
        count += len(losses)
        found.add(pack_of(ids), torch.tensor(losses, dtype=torch.float32), step)
        for i, loss in zip(ids, losses, strict=True):
            worst[i] = max(worst.get(i, -1), loss)
    words = found.take(None)
    assert [word.loss for word in words] == sorted(worst.values(), reverse=True)[:SHOWN]
    assert len({word.id for word in words}) == len(words)
    assert all(worst[int(word.id[3:])] == word.loss for word in words)
    assert all(word.image[0, 0] == int(word.id[3:]) % 256 for word in words)
    assert found.take(None) == []


def test_what_is_not_finite_is_hardest() -> None:
    found = Hardest()
    found.add(pack_of([1, 2, 3]), torch.tensor([2.0, math.nan, math.inf]), 5)
    assert [(word.id, word.loss) for word in found.take(None)] == [
        ("id-002", math.inf),
        ("id-003", math.inf),
        ("id-001", 2.0),
    ]


def one_rank(rank: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    found = Hardest()
    ids = list(range(rank, 60, 2))
    found.add(pack_of(ids), torch.tensor([float(i) for i in ids]), 1)
    torch.save([(w.id, w.loss) for w in found.take(dist.group.WORLD)], f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_ranks_find_the_hardest_of_all_of_them(tmp_path: Path) -> None:
    mp.start_processes(one_rank, args=(str(tmp_path),), nprocs=2, start_method="spawn")
    wanted = [(f"id-{i:03d}", float(i)) for i in range(59, 59 - SHOWN, -1)]
    assert [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)] == [wanted, wanted]


def test_they_are_shown_with_what_is_read_now() -> None:
    found, network = Hardest(), seeded(TINY, ALNUM36.num_classes, 0).eval()
    pack = pack_of([7, 8])
    found.add(pack, torch.tensor([1.5, math.inf]), 3)
    shown = show(found.take(None), network, ALNUM36, 9)
    with torch.inference_mode():
        read = best_path(network(pack.batch.images_NCHW).log_softmax(-1), ALNUM36)
    assert shown.step == 9
    assert shown.columns == {
        "id": ["id-008", "id-007"],
        "text": ["T8", "T7"],
        "read": [read[1].text, read[0].text],
        "loss": ["inf", 1.5],
        "step": [3, 3],
    }
    assert Image.open(io.BytesIO(shown.sheet)).format == "PNG"
