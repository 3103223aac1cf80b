"""Several data sets to learn from, each with its share of the images: how they are asked for, in which order
they come.

Every window holds each set's share, but for the row that doesn't come out even, which later windows make up
for. Each set is read in epochs of its own: a small one comes again and again, a large one is seen in part. A
stream, which makes its rows, gives each window rows that no other has.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from pipeline.errors import ConfigError
from pipeline.order import Part, Window, generator, plan_windows

ONLY = "train"
"""What a data set that was given without a name is called."""
_WEIGHTED = re.compile(r"([A-Za-z0-9][\w.-]*):(\d+\.?\d*|\.\d+)=(.+)", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingSet:
    """A data set to learn from."""

    name: str
    """Empty for one that was given without a name, and is the only one then."""
    uri: str
    weight: str = "1"
    """As it was given."""
    share: Fraction
    """Of the images that the run sees; all sets' are 1 together."""

    @property
    def label(self) -> str:
        """What people call it."""
        return self.name or ONLY

    @property
    def prefix(self) -> str:
        """What the ids of its rows begin with."""
        return f"{self.name}/" if self.name else ""

    def at(self, uri: str) -> str:
        """What asks for this set, at another URI."""
        return f"{self.name}:{self.weight}={uri}" if self.name else uri


def training_sets(data: Sequence[str]) -> tuple[TrainingSet, ...]:
    """What `--data` asks for, by name: `URI` alone, or `name:weight=URI` once or more.

    Raises:
        ConfigError: It is neither, or a name comes twice.
    """
    matches = [_WEIGHTED.fullmatch(entry) for entry in data]
    if len(data) == 1 and not matches[0]:
        return (TrainingSet(name="", uri=data[0], share=Fraction(1)),)
    found: dict[str, tuple[str, str]] = {}
    for entry, match in zip(data, matches, strict=True):
        if match is None or not Fraction(match[2]):
            raise ConfigError(
                f"Several data sets are given as name:weight=URI with weights above 0; {entry!r} isn't. "
                "Example: --data scene:0.7=s3://b/scene receipts:0.3=s3://b/receipts."
            )
        if match[1] in found:
            raise ConfigError(f"--data: {match[1]!r} is given twice; give each set a name of its own.")
        found[match[1]] = match[2], match[3]
    if not found:
        raise ConfigError("Give at least one --data set, by its URI.")
    total = sum(Fraction(weight) for weight, _ in found.values())
    return tuple(
        TrainingSet(name=name, uri=uri, weight=weight, share=Fraction(weight) / total)
        for name, (weight, uri) in sorted(found.items())
    )


def plan_mixture(
    shard_rows: Sequence[Sequence[int] | None],
    shares: Sequence[Fraction],
    *,
    images: int,
    window_rows: int,
    seed: int,
    echoes: Sequence[int] = (),
) -> list[Window]:
    """Windows that hold at least `images` rows of several data sets; of one alone, as `plan_windows`.

    The windows of a mixture, and of a stream, have `window_rows` rows each. After any number of them, each
    set has given its share of all rows to within one row.

    Args:
        shard_rows: Usable rows of each set's shards, and each set has some; None of a stream.
        shares: Of each set; 1 together. Each is worth a row of a window at least.
        images: Rows that the run wants to see.
        window_rows: Rows of a window; of a single data set's, see `plan_windows`.
        seed: Names the order.
        echoes: How often each set's rows come in a window, where that isn't once; of streams alone.

    Raises:
        ValueError: There is nothing to read in one of them, or a share is too small for a window.
    """
    if len(shard_rows) == 1 and shard_rows[0] is not None:
        return plan_windows(shard_rows[0], images=images, window_rows=window_rows, seed=seed)
    if sum(shares) != 1 or min(shares) * window_rows < 1:
        raise ValueError(
            f"Shares {shares} aren't 1 together, or too small for windows of {window_rows} rows."
        )
    takers = [
        _Maker(source, echo) if rows is None else _Reader(rows, source, seed)
        for source, (rows, echo) in enumerate(zip(shard_rows, echoes or [1] * len(shard_rows), strict=True))
    ]
    bounds = [sum(shares[:source], Fraction(0)) for source in range(len(shares) + 1)]
    given = [0] * len(shares)
    windows: list[Window] = []
    for index in range(-(-images // window_rows)):
        through = [int(bound * window_rows * (index + 1)) for bound in bounds]
        owed = [end - start for start, end in pairwise(through)]
        parts = [part for s, taker in enumerate(takers) for part in taker.take(owed[s] - given[s])]
        windows.append(Window(index=index, parts=tuple(parts)))
        given = owed
    return windows


def rows_seen(windows: Sequence[Window], shard_rows: Sequence[Sequence[int] | None]) -> list[int]:
    """Rows that windows hold of each data set.

    Args:
        windows: Of a run.
        shard_rows: As `plan_mixture` had them.
    """
    seen = [0] * len(shard_rows)
    for window in windows:
        for part in window.parts:
            stop = part.stop
            if stop is None:  # a whole shard, which is never a stream's
                stop = (shard_rows[part.source] or ())[part.shard]
            seen[part.source] += stop - part.start
    return seen


class _Maker:
    """A stream's rows: the first ones of a new shard, each time some are asked for, and their echoes."""

    def __init__(self, source: int, echo: int) -> None:
        self._source, self._echo, self._made = source, echo, 0

    def take(self, count: int) -> Iterator[Part]:
        """The next `count` rows."""
        if not count:
            return
        fresh = -(-count // self._echo)
        for epoch, start in enumerate(range(0, count, fresh)):
            stop = min(fresh, count - start)
            yield Part(source=self._source, shard=self._made, epoch=epoch, stop=stop)
        self._made += 1


class _Reader:
    """A data set's rows without end: epoch after epoch, its shards in an order of the epoch's own."""

    def __init__(self, shard_rows: Sequence[int], source: int, seed: int) -> None:
        if sum(shard_rows) <= 0:
            raise ValueError(f"Data set {source} has no usable row, so there is no order to make of it.")
        self._rows, self._source, self._seed = shard_rows, source, seed
        self._shards = self._endless()
        self._epoch, self._shard, self._start = *next(self._shards), 0

    def take(self, count: int) -> Iterator[Part]:
        """The next `count` rows."""
        while count:
            stop = min(self._start + count, self._rows[self._shard])
            yield Part(
                source=self._source, shard=self._shard, epoch=self._epoch, start=self._start, stop=stop
            )
            count -= stop - self._start
            self._start = stop
            if stop == self._rows[self._shard]:
                self._epoch, self._shard, self._start = *next(self._shards), 0

    def _endless(self) -> Iterator[tuple[int, int]]:
        """Epochs and shards."""
        epoch = 0
        while True:
            order = generator(self._seed, epoch, 0, 1 + self._source).permutation(len(self._rows))
            yield from ((epoch, int(shard)) for shard in order if self._rows[shard] > 0)
            epoch += 1
