"""A window of shards → packs: ready batches of one width, as rows that travel through Ray Data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from crnn.batching import plan_packs
from crnn.errors import ImageRejectedError
from crnn.preprocess import decode_image, line_image
from crnn.training import Batch
from pipeline.labels import LabelRejectedError, LabelRules
from pipeline.manifest import Manifest
from pipeline.order import Window, generator
from pipeline.shards import read_shard

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Packer:
    """Reads windows of one data set and cuts them into packs.

    The packs of a window, their number and order, depend on (data set, rules, seed, window) alone. Images
    that turn out to be undecodable leave their pack, which keeps its place, and are listed in it.
    """

    data_uri: str
    manifest: Manifest
    rules: LabelRules
    pack_columns: int
    """Pixel columns of a pack: 12,800 are 128 images of 100 pixels."""
    seed: int

    def packs(self, window: Window, skip: Callable[[int], bool] = lambda _: False) -> Iterator[pa.Table]:
        """The packs of a window, one single-row table of PACK_SCHEMA each.

        Args:
            window: What to read.
            skip: Says by their number which packs aren't wanted; they are not decoded.
        """
        table = pa.concat_tables(
            read_shard(self.data_uri, self.manifest.shards[s], columns=COLUMNS) for s in window.shards
        )
        usable, targets, widths = self._usable(table)
        columns = {name: table.column(name).to_pylist() for name in COLUMNS}
        random = generator(self.seed, window.epoch, window.index)
        order = random.permutation(len(usable))
        plan = plan_packs([widths[i] for i in order], self.pack_columns)
        for pack, planned in enumerate(random.permutation(len(plan))):
            if skip(pack):
                continue
            members = [int(order[i]) for i in plan[planned]]
            rows = [{name: column[usable[i]] for name, column in columns.items()} for i in members]
            place = {"window": window.index, "pack": pack, "packs_in_window": len(plan)}
            yield self._pack(place, rows, [targets[i] for i in members], widths[members[0]])

    def _usable(self, table: pa.Table) -> tuple[list[int], list[list[int]], list[int]]:
        usable: list[int] = []
        targets: list[list[int]] = []
        widths: list[int] = []
        columns = (table.column(name).to_pylist() for name in ("text", "width", "height"))
        for row, (text, width, height) in enumerate(zip(*columns, strict=True)):
            try:
                target, canonical = self.rules.check(text or "", width, height)
            except LabelRejectedError:  # counted and written out by the audit before training
                continue
            usable.append(row)
            targets.append(target)
            widths.append(canonical)
        return usable, targets, widths

    def _pack(
        self, place: dict[str, int], rows: list[dict[str, Any]], targets: list[list[int]], width: int
    ) -> pa.Table:
        kept: list[int] = []
        lines: list[np.ndarray] = []
        rejects: list[dict[str, str]] = []
        for i, row in enumerate(rows):
            try:
                line = line_image(decode_image(row["image"]), self.rules.preprocess)
                if line.shape[1] != width:
                    raise ImageRejectedError(
                        "wrong_size", f"the shard says {row['width']}×{row['height']}; the image differs"
                    )
            except ImageRejectedError as error:
                rejects.append({"id": row["id"], "reason": error.reason, "detail": error.detail})
                continue
            kept.append(i)
            lines.append(line)
        return pa.Table.from_pylist(
            [
                {
                    **place,
                    "count": len(kept),
                    "width": width,
                    "images": b"".join(line.data for line in lines),
                    "targets": [c for i in kept for c in targets[i]],
                    "target_lengths": [len(targets[i]) for i in kept],
                    "ids": [rows[i]["id"] for i in kept],
                    "texts": [rows[i]["text"] for i in kept],
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
        # A copy: the buffer belongs to Ray's object store, which is read-only.
        pixels = np.frombuffer(row["images"].as_buffer(), np.uint8).reshape(count, 1, height, width).copy()
        # A list scalar's values of a null-free column are a plain array.
        targets = np.array(row["targets"].values, np.int32)
        lengths = np.array(row["target_lengths"].values, np.int32)
        batch = Batch(
            images_NCHW=torch.from_numpy(pixels).to(device, non_blocking=True),
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
