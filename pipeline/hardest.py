"""The words that training finds hardest: those with the highest loss since the last checkpoint."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from crnn.charset import Charset
from crnn.decode import best_path
from crnn.model import CRNN
from crnn.preprocess import GreyImage
from pipeline.packing import Pack
from pipeline.pictures import Word, word_sheet

SHOWN = 24
_UNREAD = 16
"""Steps whose losses may wait to be read: reading them one by one would stop a GPU's queue each time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HardWord:
    """A word at the step at which it was hardest."""

    id: str
    text: str
    loss: float
    """CTC loss, with the weights before the step; infinite where it wasn't finite."""
    step: int
    image: GreyImage
    """uint8 [H, W], as the network saw it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HardestWords:
    """What a checkpoint tells of them."""

    step: int
    """Of the checkpoint."""
    columns: dict[str, list[str | float | int]]
    """A table, hardest first: id, text, what the averaged weights read now, loss, its step."""
    sheet: bytes
    """PNG of the words with text, loss and what is read."""


class Hardest:
    """Keeps the hardest words of one rank, each once."""

    def __init__(self) -> None:
        self._words: dict[str, HardWord] = {}
        self._unread: list[tuple[Pack, Tensor, int]] = []
        self._least = -math.inf  # loss that gets a word in

    def add(self, pack: Pack, losses: Tensor, step: int) -> None:
        """Looks at the words of a step, or will.

        Args:
            pack: What was learnt from.
            losses: Of each image, float [N].
            step: Number of the step.
        """
        self._unread.append((pack, losses, step))
        if len(self._unread) >= _UNREAD:
            self._read()

    def _read(self) -> None:
        unread, self._unread = self._unread, []
        losses = [losses.float().nan_to_num(nan=math.inf, posinf=math.inf) for _, losses, _ in unread]
        values = torch.cat(losses).tolist() if losses else []
        start = 0
        for pack, found, step in unread:
            self._enter(pack, values[start : start + len(found)], step)
            start += len(found)

    def _enter(self, pack: Pack, values: list[float], step: int) -> None:
        entering = sorted(
            (i for i, loss in enumerate(values) if loss > self._least), key=lambda i: -values[i]
        )
        entered: set[str] = set()
        for i in entering:
            if len(entered) == SHOWN:
                break
            entered.add(pack.ids[i])
            known = self._words.get(pack.ids[i])
            if known is None or known.loss < values[i]:
                self._words[pack.ids[i]] = HardWord(
                    id=pack.ids[i],
                    text=pack.texts[i],
                    loss=values[i],
                    step=step,
                    image=pack.batch.images_NCHW[i, 0].cpu().numpy().copy(),
                )
        if len(self._words) > SHOWN:
            self._words = {word.id: word for word in _hardest(list(self._words.values()))}
            self._least = min(word.loss for word in self._words.values())

    def take(self, group: dist.ProcessGroup | None) -> list[HardWord]:
        """The hardest of all ranks, hardest first, and none from here on; a collective."""
        self._read()
        words, self._words, self._least = list(self._words.values()), {}, -math.inf
        if group is not None:
            shares: list[list[HardWord]] = [[]] * dist.get_world_size(group)
            dist.all_gather_object(shares, words, group=group)
            words = [word for share in shares for word in share]
        return _hardest(words)


@torch.inference_mode()
def show(words: Sequence[HardWord], network: CRNN, charset: Charset, step: int) -> HardestWords:
    """What the words are and how they are read by now.

    Args:
        words: Hardest first.
        network: In evaluation mode.
        charset: Its classes.
        step: Of the run.
    """
    device = next(network.parameters()).device
    images = (torch.from_numpy(np.ascontiguousarray(word.image))[None, None].to(device) for word in words)
    read = [best_path(network(image).float().log_softmax(-1).cpu(), charset)[0].text for image in images]
    losses = [round(word.loss, 4) if math.isfinite(word.loss) else "inf" for word in words]
    sheet = [
        Word(
            image=word.image,
            truth=f"{word.text}  {word.loss:.1f}",
            prediction=text,
            right=text == charset.normalize(word.text),
        )
        for word, text in zip(words, read, strict=True)
    ]
    return HardestWords(
        step=step,
        columns={
            "id": [word.id for word in words],
            "text": [word.text for word in words],
            "read": list(read),
            "loss": list(losses),
            "step": [word.step for word in words],
        },
        sheet=word_sheet(sheet),
    )


def _hardest(words: list[HardWord]) -> list[HardWord]:
    """At most SHOWN, each id once, in an order that doesn't depend on theirs."""
    ordered = sorted(words, key=lambda word: (-word.loss, word.id, word.step))
    first: dict[str, HardWord] = {}
    for word in ordered:
        first.setdefault(word.id, word)
    return list(first.values())[:SHOWN]
