"""The order in which training sees the data, as a pure function, and the place in it.

A run's order is a list of windows. A window is rows that are shuffled together and cut into packs: a few
whole shards of one data set, or the shares of several (`pipeline.mixture`). It depends on (data, seed, epoch)
alone, never on the number of workers, so that a run resumes exactly on another number of them. The position
is the set of packs consumed, whoever consumed them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Usable rows of one shard."""

    source: int = 0
    """Place of the shard's data set among those that the run learns from."""
    shard: int
    """Number in the data set's manifest, or of a stream's shard."""
    epoch: int
    """How often all of the data set came before."""
    start: int = 0
    stop: int | None = None
    """None: to the end."""

    def rows(self, usable: int, seed: int) -> npt.NDArray[np.int64]:
        """Which of the shard's usable rows these are: all as they come, or a part of an order of the epoch's.

        Args:
            usable: How many the shard has.
            seed: Names the order.

        Raises:
            ValueError: It has fewer than were planned with.
        """
        if self.stop is None and not self.start:
            return np.arange(usable)
        if self.stop is not None and self.stop > usable:
            raise ValueError(
                f"Shard {self.shard} was planned with {self.stop} usable rows and has {usable}; the audit "
                "that the plan was made of belongs to other data."
            )
        order = generator(seed, self.epoch, 1 + self.shard, 1 + self.source).permutation(usable)
        return order[self.start : self.stop]


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """Rows that are shuffled together."""

    index: int
    """Place in the run's order, counted over all epochs."""
    parts: tuple[Part, ...]
    """In reading order."""

    @property
    def epoch(self) -> int:
        """Of its first part; all parts of a single data set are of one epoch."""
        return self.parts[0].epoch

    @classmethod
    def whole(cls, *, index: int, epoch: int, shards: Iterable[int]) -> "Window":
        """Whole shards of a single data set."""
        return cls(index=index, parts=tuple(Part(shard=shard, epoch=epoch) for shard in shards))


def generator(seed: int, *keys: int) -> np.random.Generator:
    """Random numbers that belong to these keys alone (Philox keyed through a seed sequence)."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, *keys])))


def plan_windows(shard_rows: Sequence[int], *, images: int, window_rows: int, seed: int) -> list[Window]:
    """Windows of whole shards with at least `images` rows: as many epochs as it takes, each in a new order.

    Args:
        shard_rows: Usable rows of each shard; at least one shard has some.
        images: Rows that the run wants to see.
        window_rows: A window takes shards until it holds this many rows.
        seed: Names the order.

    Raises:
        ValueError: There is nothing to read.
    """
    if sum(shard_rows) <= 0:
        raise ValueError("The data set has no usable row, so there is no order to make of it.")
    windows: list[Window] = []
    planned, epoch = 0, 0
    while planned < images:
        taken: list[int] = []
        rows = 0
        order = [int(s) for s in generator(seed, epoch).permutation(len(shard_rows)) if shard_rows[s] > 0]
        for place, shard in enumerate(order):
            taken.append(shard)
            rows += shard_rows[shard]
            if rows >= window_rows or place == len(order) - 1:
                windows.append(Window.whole(index=len(windows), epoch=epoch, shards=taken))
                planned += rows
                taken, rows = [], 0
                if planned >= images:
                    break
        epoch += 1
    return windows


@dataclass(slots=True)
class Position:
    """Which packs of which windows have been consumed."""

    through: int = 0
    """All windows before this one are consumed."""
    packs: dict[int, set[int]] = field(default_factory=dict)
    """Consumed packs of the windows from `through` on."""
    sizes: dict[int, int] = field(default_factory=dict)
    """How many packs each of those windows has."""

    def consume(self, window: int, pack: int, packs_in_window: int) -> None:
        """Notes one pack.

        Raises:
            ValueError: It was consumed before: some image would count twice.
        """
        consumed = self.packs.setdefault(window, set())
        if window < self.through or pack in consumed:
            raise ValueError(f"Pack {pack} of window {window} came twice; the data feed repeats itself.")
        consumed.add(pack)
        self.sizes[window] = packs_in_window

    def is_consumed(self, window: int, pack: int) -> bool:
        """Whether a pack was consumed."""
        return window < self.through or pack in self.packs.get(window, ())

    def is_complete(self, window: int) -> bool:
        """Whether all packs of a window were consumed."""
        return window < self.through or len(self.packs.get(window, ())) == self.sizes.get(window, -1)

    @classmethod
    def merge(cls, positions: Iterable["Position"]) -> "Position":
        """The union of what several workers consumed, with completed windows folded away."""
        merged = cls()
        for position in positions:
            merged.through = max(merged.through, position.through)
            for window, packs in position.packs.items():
                merged.packs.setdefault(window, set()).update(packs)
                merged.sizes[window] = position.sizes[window]
        while merged.is_complete(merged.through):
            merged.through += 1
        merged.packs = {w: p for w, p in merged.packs.items() if w >= merged.through}
        merged.sizes = {w: merged.sizes[w] for w in merged.packs}
        return merged

    def to_dict(self) -> dict[str, object]:
        """JSON form."""
        windows = {str(w): [self.sizes[w], *sorted(packs)] for w, packs in sorted(self.packs.items())}
        return {"through": self.through, "windows": windows}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "Position":
        """Inverse of `to_dict`."""
        through, windows = values["through"], values["windows"]
        if not isinstance(through, int) or not isinstance(windows, dict):
            raise ValueError("A position holds 'through', an integer, and 'windows', a mapping.")
        return cls(
            through=through,
            packs={int(w): set(entry[1:]) for w, entry in windows.items()},
            sizes={int(w): entry[0] for w, entry in windows.items()},
        )
