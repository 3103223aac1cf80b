"""A window of rows → packs: ready batches of one width, as rows that travel through Ray Data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch

from crnn.batching import plan_packs
from crnn.errors import ImageRejectedError
from crnn.preprocess import decode_image, line_image
from crnn.training import Batch
from pipeline.errors import DataError
from pipeline.labels import LabelRejectedError, LabelRules
from pipeline.manifest import Manifest, ShardInfo
from pipeline.order import Part, Window, generator
from pipeline.shards import read_shard
from pipeline.synthesis.stream import Stream

COLUMNS = ["id", "image", "text", "width", "height"]
_REJECT = pa.struct([("id", pa.string()), ("reason", pa.string()), ("detail", pa.string())])

PACK_SCHEMA = pa.schema(
    [
        pa.field("window", pa.int32(), nullable=False),
        pa.field("pack", pa.int32(), nullable=False),
        pa.field("packs_in_window", pa.int32(), nullable=False),
        pa.field("count", pa.int32(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),
        pa.field("images", pa.large_binary(), nullable=False),
        pa.field("targets", pa.list_(pa.int32()), nullable=False),
        pa.field("target_lengths", pa.list_(pa.int32()), nullable=False),
        pa.field("ids", pa.list_(pa.string()), nullable=False),
        pa.field("texts", pa.list_(pa.string()), nullable=False),
        pa.field("rejects", pa.list_(_REJECT), nullable=False),
    ]
)
"""One row a pack; `images` is uint8 [count, 1, height, width]."""


_PATIENCE = 50
"""Rows of a stream for one that can be learnt from, on average, after which it is taken to have none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """A data set that is read, or a stream."""

    uri: str
    content: Manifest | Stream
    prefix: str = ""
    """What its rows' ids begin with, so that those of several data sets differ."""


class _Sample(NamedTuple):
    """A row that can be learnt from."""

    id: str
    image: bytes
    text: str
    width: int
    height: int
    target: list[int]
    canonical: int
    """Width of its line image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Packer:
    """Reads windows of data sets and cuts them into packs.

    The packs of a window, their number and order, depend on (data sets, rules, seed, window) alone. Images
    that turn out to be undecodable leave their pack, which keeps its place, and are listed in it; rows of a
    stream that can't be learnt from are listed in the first pack of their window.
    """

    sources: tuple[Source, ...]
    """The data sets, as the windows' parts count them."""
    rules: LabelRules
    pack_columns: int
    """Pixel columns of a pack: 12,800 are 128 images of 100 pixels."""
    seed: int

    @property
    def manifest(self) -> Manifest:
        """Of the first data set.

        Raises:
            TypeError: It is a stream.
        """
        found = self.sources[0].content
        if isinstance(found, Stream):
            raise TypeError(f"{found.uri} has no end, and so no manifest.")
        return found

    def packs(self, window: Window, skip: Callable[[int], bool] = lambda _: False) -> Iterator[pa.Table]:
        """The packs of a window, one single-row table of PACK_SCHEMA each.

        Args:
            window: What to read.
            skip: Says by their number which packs aren't wanted; they are not decoded.
        """
        samples, rejects = self._samples(window)
        random = generator(self.seed, window.epoch, window.index)
        order = random.permutation(len(samples))
        plan = plan_packs([samples[i].canonical for i in order], self.pack_columns)
        for pack, planned in enumerate(random.permutation(len(plan))):
            if not skip(pack):
                place = {"window": window.index, "pack": pack, "packs_in_window": len(plan)}
                yield self._pack(place, [samples[order[i]] for i in plan[planned]], [] if pack else rejects)

    def _samples(self, window: Window) -> tuple[list[_Sample], list[dict[str, str]]]:
        """Its usable rows, and those rejected which no audit has seen."""
        # A small data set comes several times in a window of a mixture: its shards are read once.
        shards: dict[tuple[int, int], list[_Sample]] = {}
        samples: list[_Sample] = []
        rejects: list[dict[str, str]] = []
        for part in window.parts:
            place, source = (part.source, part.shard), self.sources[part.source]
            if place not in shards:
                if isinstance(source.content, Stream):
                    shards[place], rejected = self._made(source.prefix, source.content, part)
                    rejects += rejected
                else:
                    shards[place] = self._usable(source, source.content.shards[part.shard])
            usable = shards[place]
            samples += [usable[i] for i in part.rows(len(usable), self.seed)]
        return samples, rejects

    def _made(self, prefix: str, stream: Stream, part: Part) -> tuple[list[_Sample], list[dict[str, str]]]:
        """As many usable rows of a stream's shard as the part has, and the rejected ones among them."""
        usable: list[_Sample] = []
        rejects: list[dict[str, str]] = []
        for row in stream.shard(part.shard):
            if len(usable) == part.stop:
                break
            id_, image, text, width, height = (row[name] for name in COLUMNS)
            try:
                target, canonical = self.rules.check(text, width, height)
            except LabelRejectedError as error:
                rejects.append({"id": prefix + id_, "reason": error.reason, "detail": error.detail})
                if len(rejects) > _PATIENCE * (len(usable) + 20):
                    met = len(usable) + len(rejects)
                    raise DataError(
                        f"{stream.uri}: {len(usable):,} words can be learnt of {met:,}; of the last one "
                        f"{error.detail}. Do charset and network fit the stream?"
                    ) from None
                continue
            usable.append(_Sample(prefix + id_, image, text, width, height, target, canonical))
        return usable, rejects

    def _usable(self, source: Source, shard: ShardInfo) -> list[_Sample]:
        table = read_shard(source.uri, shard, columns=COLUMNS)
        usable: list[_Sample] = []
        columns = (table.column(name).to_pylist() for name in COLUMNS)
        for id_, image, text, width, height in zip(*columns, strict=True):
            try:
                target, canonical = self.rules.check(text or "", width, height)
            except LabelRejectedError:  # counted and written out by the audit before training
                continue
            usable.append(_Sample(source.prefix + id_, image, text, width, height, target, canonical))
        return usable

    def _pack(self, place: dict[str, int], samples: list[_Sample], rejects: list[dict[str, str]]) -> pa.Table:
        width = samples[0].canonical
        kept: list[_Sample] = []
        lines: list[np.ndarray] = []
        rejects = [*rejects]
        for sample in samples:
            try:
                line = line_image(decode_image(sample.image), self.rules.preprocess)
                if line.shape[1] != width:
                    raise ImageRejectedError(
                        "wrong_size", f"the shard says {sample.width}×{sample.height}; the image differs"
                    )
            except ImageRejectedError as error:
                rejects.append({"id": sample.id, "reason": error.reason, "detail": error.detail})
                continue
            kept.append(sample)
            lines.append(line)
        return pa.Table.from_pylist(
            [
                {
                    **place,
                    "count": len(kept),
                    "width": width,
                    "images": b"".join(line.data for line in lines),
                    "targets": [c for sample in kept for c in sample.target],
                    "target_lengths": [len(sample.target) for sample in kept],
                    "ids": [sample.id for sample in kept],
                    "texts": [sample.text for sample in kept],
                    "rejects": rejects,
                }
            ],
            schema=PACK_SCHEMA,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """A pack on its way into the network."""

    window: int
    pack: int
    packs_in_window: int
    batch: Batch
    ids: list[str]
    texts: list[str]
    rejects: list[dict[str, str]]

    @classmethod
    def from_table(cls, table: pa.Table, height: int, device: torch.device) -> "Pack":
        """Unpacks a single row of PACK_SCHEMA and moves it to a device.

        Args:
            table: One row.
            height: Of the line images, in pixels.
            device: Where the batch goes.
        """
        row = {name: table.column(name)[0] for name in table.column_names}
        count, width = row["count"].as_py(), row["width"].as_py()
        # A copy: the buffer belongs to Ray's object store, which is read-only and which no GPU reads from.
        pixels = torch.empty((count, 1, height, width), dtype=torch.uint8, pin_memory=device.type == "cuda")
        pixels.numpy()[:] = np.frombuffer(row["images"].as_buffer(), np.uint8).reshape(pixels.shape)
        # A list scalar's values of a null-free column are a plain array.
        targets = np.array(row["targets"].values, np.int32)
        lengths = np.array(row["target_lengths"].values, np.int32)
        batch = Batch(
            images_NCHW=pixels.to(device, non_blocking=True),
            targets=torch.from_numpy(targets).to(device, non_blocking=True),
            target_lengths=torch.from_numpy(lengths),
        )
        return cls(
            window=row["window"].as_py(),
            pack=row["pack"].as_py(),
            packs_in_window=row["packs_in_window"].as_py(),
            batch=batch,
            ids=row["ids"].as_py(),
            texts=row["texts"].as_py(),
            rejects=row["rejects"].as_py(),
        )
