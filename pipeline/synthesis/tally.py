"""What a synthetic data set holds, counted shard by shard and added up."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.synthesis.effects import effect_names


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Counts of rows; `a + b` are those of both."""

    rows: int = 0
    draws: int = 0
    """Attempts: those beyond the rows gave nothing readable."""
    columns: int = 0
    """Pixel columns of all pictures."""
    image_bytes: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    """Rows by characters of the text."""
    characters: Counter[str] = field(default_factory=Counter)
    effects: Counter[str] = field(default_factory=Counter)
    """Rows that have an effect."""

    @classmethod
    def of(cls, table: pa.Table) -> "Tally":
        """Of a shard."""
        texts = table["text"].to_pylist()
        masks = Counter(table["effects"].to_pylist())
        effects: Counter[str] = Counter()
        for mask, count in masks.items():
            effects.update(dict.fromkeys(effect_names(mask), count))
        return cls(
            rows=table.num_rows,
            draws=(table["draw"][-1].as_py() + 1) if table.num_rows else 0,
            columns=pc.sum(table["width"], min_count=0).as_py(),
            image_bytes=pc.sum(pc.binary_length(table["image"]), min_count=0).as_py(),
            lengths=Counter(map(len, texts)),
            characters=Counter("".join(texts)),
            effects=effects,
        )

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            rows=self.rows + other.rows,
            draws=self.draws + other.draws,
            columns=self.columns + other.columns,
            image_bytes=self.image_bytes + other.image_bytes,
            lengths=self.lengths + other.lengths,
            characters=self.characters + other.characters,
            effects=self.effects + other.effects,
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Tally":
        """Inverse of `to_dict`, through JSON too."""
        lengths = Counter({int(length): count for length, count in values["lengths"].items()})
        counters = {name: Counter(values[name]) for name in ("characters", "effects")}
        return cls(**{**values, **counters, "lengths": lengths})
