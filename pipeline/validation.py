"""Held-out words during training: kept in memory, shared out over the ranks, counts added up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
import torch.distributed as dist

from crnn.ctc import ctc_loss
from crnn.decode import best_path
from crnn.metrics import Counts
from crnn.model import CRNN
from pipeline.order import Window
from pipeline.packing import Pack, Packer
from pipeline.pictures import Word, word_sheet
from pipeline.tracking import MetricPoint

_SHOWN = 48


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a set of held-out words said."""

    words: int
    """That were read."""
    rejected: int
    """Rows of the set that can't be: their label or their image is no good."""
    word_accuracy: float
    cer: float
    loss: float
    """Mean CTC loss of a word."""
    sheet: bytes
    """PNG of the first words with truth and prediction; always the same words, so that steps compare."""

    def metrics(self, name: str) -> dict[str, float]:
        """As metrics of the validation set `name`."""
        keys = ("word_accuracy", "cer", "loss", "words", "rejected")
        return {f"validation/{name}/{key}": float(getattr(self, key)) for key in keys}


class HeldOut:
    """One rank's share of the packs of a validation set."""

    def __init__(self, packer: Packer, packs: list[Pack]) -> None:
        self._packer, self._packs = packer, packs

    @classmethod
    def load(cls, packer: Packer, rank: int, world_size: int) -> "HeldOut":
        """Decodes this rank's share of the data set, every `world_size`-th pack of it."""
        height, cpu = packer.rules.preprocess.height, torch.device("cpu")
        packs = [
            Pack.from_table(table, height, cpu)
            for shard in range(len(packer.manifest.shards))
            for table in packer.packs(
                Window.whole(index=shard, epoch=0, shards=[shard]),
                skip=lambda pack: pack % world_size != rank,
            )
        ]
        return cls(packer, packs)

    @torch.inference_mode()
    def evaluate(self, network: CRNN, group: dist.ProcessGroup | None) -> Finding:
        """Reads all packs, in fp32 as bundles are read, whatever training computes in; a collective where
        there are several ranks.

        Args:
            network: In evaluation mode.
            group: Of all ranks, or None for a single one.
        """
        device = next(network.parameters()).device
        charset = self._packer.rules.charset
        counts, loss_sum, words = Counts(), 0.0, list[Word]()
        for pack in self._packs:
            if not pack.batch.count:
                continue
            images = pack.batch.images_NCHW.to(device, memory_format=torch.channels_last)
            logits_NTV = network(images)
            targets = pack.batch.targets.to(device)
            loss_sum += float(ctc_loss(logits_NTV, targets, pack.batch.target_lengths).sum())
            hypotheses = best_path(logits_NTV.log_softmax(-1).cpu(), charset)
            for i, (text, hypothesis) in enumerate(zip(pack.texts, hypotheses, strict=True)):
                truth = charset.normalize(text)
                counts += Counts.of(truth, hypothesis.text)
                if len(words) < _SHOWN:
                    image = pack.batch.images_NCHW[i, 0].numpy()
                    words.append(Word(image=image, truth=truth, prediction=hypothesis.text))
        shares = [(counts, loss_sum)]
        if group is not None:
            shares = [(Counts(), 0.0)] * dist.get_world_size(group)
            dist.all_gather_object(shares, (counts, loss_sum), group=group)
        total, loss = sum((c for c, _ in shares), Counts()), sum(value for _, value in shares)
        return Finding(
            word_accuracy=total.word_accuracy,
            words=total.words,
            rejected=self._packer.manifest.rows - total.words,
            cer=total.cer,
            loss=loss / max(total.words, 1),
            sheet=word_sheet(words),
        )

    def truths(self) -> bytes:
        """The words that `evaluate` shows with their truths alone, as a PNG: what there is to read."""
        charset = self._packer.rules.charset
        cells = (
            Word(image=image[0], truth=charset.normalize(text))
            for pack in self._packs
            if pack.batch.count
            for image, text in zip(pack.batch.images_NCHW.numpy(), pack.texts, strict=True)
        )
        return word_sheet(list(islice(cells, _SHOWN)))


def metrics(findings: Mapping[str, Finding]) -> dict[str, float]:
    """The metrics of all validation sets together."""
    return {key: value for name, found in findings.items() for key, value in found.metrics(name).items()}


def last_accuracy(history: Sequence[MetricPoint], name: str) -> float | None:
    """The word accuracy at the last look at the validation set `name`; None before the first one."""
    key = f"validation/{name}/word_accuracy"
    return next((point.value for point in reversed(history) if point.key == key), None)
