"""Held-out words are read as anybody reads them, whoever holds which share of them."""

import io
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from PIL import Image

from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.ctc import ctc_loss
from crnn.metrics import Counts
from crnn.model import seeded
from crnn.networks import SMALL
from crnn.preprocess import PreprocessConfig
from crnn.recognizer import Recognizer
from pipeline.labels import LabelRules
from pipeline.packing import Packer, Source
from pipeline.pictures import GAP
from pipeline.tracking import MetricPoint
from pipeline.validation import Finding, HeldOut, last_accuracy, metrics
from tests.datasets import word_rows, write_data_set

WORDS = [f"{'word' * (i % 3)}{i}" for i in range(30)]
RULES = LabelRules(charset=ALNUM36, preprocess=PreprocessConfig(), network=SMALL)


def packer(folder: str) -> Packer:
    manifest = write_data_set(folder, word_rows(WORDS), shard_rows=10)
    source = Source(uri=folder, content=manifest)
    return Packer(sources=(source,), rules=RULES, pack_columns=512, seed=3)


def talkative(seed: int = 3) -> torch.nn.Module:
    """An untrained network that writes something, at least."""
    network = seeded(SMALL, ALNUM36.num_classes, seed).eval()
    with torch.no_grad():
        network.linears[-1].bias[0] = -1.0  # type: ignore[union-attr, operator]
    return network


def test_the_numbers_are_those_of_the_recogniser_and_of_a_plain_loss(tmp_path: Path) -> None:
    network = talkative()
    held_out = HeldOut.load(packer(str(tmp_path)), 0, 1)
    found = held_out.evaluate(network, None)  # type: ignore[arg-type]
    bundle = Bundle(network=SMALL, charset=ALNUM36, preprocess=RULES.preprocess, weights=network.state_dict())
    recognizer = Recognizer(bundle)
    images = [row["image"] for row in word_rows(WORDS)]
    read = recognizer(images)  # type: ignore[arg-type]
    expected = Counts.over(zip(WORDS, [h.text for h in read], strict=True))
    assert any(h.text for h in read)
    assert (found.word_accuracy, found.cer) == (expected.word_accuracy, expected.cer)
    losses = []
    for word, image in zip(WORDS, images, strict=True):
        log_probs = recognizer.log_probs(recognizer.prepare(image).pixels[None, None])  # type: ignore[arg-type]
        target = torch.tensor(ALNUM36.encode(word))
        losses.append(float(ctc_loss(log_probs, target, torch.tensor([len(target)]))))
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-4)
    # The same words and truths in the same places, without what was read below them.
    full, plain = (Image.open(io.BytesIO(png)) for png in (found.sheet, held_out.truths()))
    rows = -(-len(WORDS) // 6)
    pitches = [(sheet.height - GAP) // rows for sheet in (full, plain)]
    assert pitches[0] > pitches[1]
    for row in range(rows):
        strips = [
            sheet.crop((0, GAP + row * pitch, sheet.width, row * pitch + pitches[1]))
            for sheet, pitch in zip((full, plain), pitches, strict=True)
        ]
        assert strips[0].tobytes() == strips[1].tobytes()


def one_rank(rank: int, folder: str) -> None:
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    held_out = HeldOut.load(packer(f"{folder}/data-{rank}"), rank, 2)
    found = held_out.evaluate(talkative(), dist.group.WORLD)  # type: ignore[arg-type]
    values = [found.words, found.rejected, found.word_accuracy, found.cer, found.loss]
    torch.save(values, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def test_two_ranks_together_find_what_one_finds(tmp_path: Path) -> None:
    alone = HeldOut.load(packer(str(tmp_path / "data")), 0, 1).evaluate(talkative(), None)  # type: ignore[arg-type]
    mp.start_processes(one_rank, args=(str(tmp_path),), nprocs=2, start_method="spawn")
    for rank in range(2):
        found = torch.load(tmp_path / f"{rank}.pt")
        wanted = [alone.words, alone.rejected, alone.word_accuracy, alone.cer, alone.loss]
        assert found == pytest.approx(wanted, rel=1e-5)


def test_each_set_has_metrics_of_its_own() -> None:
    findings = {
        n: Finding(words=9, rejected=1, word_accuracy=a, cer=0.5, loss=2.0, sheet=b"")
        for n, a in (("a", 0.1), ("b", 0.2))
    }
    found = metrics(findings)
    assert found["validation/a/word_accuracy"] == 0.1
    assert found["validation/b/word_accuracy"] == 0.2
    assert found["validation/b/words"] == 9
    assert len(found) == 10


def test_the_accuracy_of_the_last_look_outlives_what_was_noted_since() -> None:
    def noted(step: int, *found: tuple[str, float]) -> list[MetricPoint]:
        return [MetricPoint(key=k, value=v, step=step, timestamp_ms=step) for k, v in found]

    before = noted(1, ("train/loss", 9.0))
    assert last_accuracy(before, "a") is None
    a, b = "validation/a/word_accuracy", "validation/b/word_accuracy"
    looked = (
        before + noted(2, (a, 0.1), (b, 0.8)) + noted(4, (a, 0.0), (b, 0.9)) + noted(5, ("train/loss", 1.0))
    )
    assert last_accuracy(looked, "a") == 0.0
    assert last_accuracy(looked, "b") == 0.9
