"""Shards of synthetic words: each a pure function of (seed, split, shard, config, assets)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import SynthesisConfig
from pipeline.synthesis.degrade import decode, encode, netpbm
from pipeline.synthesis.draws import WIDTH
from pipeline.synthesis.render import Rendered, Renderer
from pipeline.synthesis.split import SPLITS, Split
from pipeline.synthesis.words import Words

SOURCE = "synthesis"
_TABLE = 2_048
"""Draws that are made together, one table of words and one of random numbers; and rows that become Arrow's
together, since they take several times the memory as Python's."""
_PATIENCE = 50
"""Draws for one row, on average, after which the config is taken to allow no picture at all."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One row of a shard."""

    draw: int
    """Number of the attempt in its shard: what makes the row again alone."""
    picture: Rendered


class Generator:
    """Makes shards. Costs tens of milliseconds to make and holds the assets open; one per process is enough.

    Args:
        config: What is made.
        assets: Faces, textures, words.
        split: Words and font designs of this split alone.
        seed: Another seed is another data set.

    Raises:
        ConfigError: The seed isn't one, or the assets can't give what the config asks for.
    """

    def __init__(self, config: SynthesisConfig, assets: Assets, split: Split, seed: int) -> None:
        if not 0 <= seed < 2**63:
            raise ConfigError(f"A seed is a whole number from 0 to 2^63 - 1; {seed} isn't.")
        self._split, self._seed, self._coding = split, seed, config.coding
        self.assets_fingerprint = assets.fingerprint
        self._words = Words(assets, config.words, split)
        self.renderer = Renderer(config, assets, split)

    def shard(self, shard: int, rows: int) -> pa.Table:
        """The shard as a table of SAMPLE_SCHEMA's columns, images coded as the config says.

        Args:
            shard: Number of the shard, from 0.
            rows: How many rows to make; the first rows of a longer shard are those of a shorter one.

        Raises:
            ConfigError: Hardly any draw gives a readable picture.
        """
        made = self.rows(shard, rows)
        parts = [pa.Table.from_pylist(list(islice(made, _TABLE))) for _ in range(0, rows, _TABLE)]
        return pa.concat_tables(parts or [pa.table({})])

    def rows(self, shard: int, rows: int | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a shard one by one; arguments and errors as in `shard`, without end for None."""
        return (self._row(shard, sample) for sample in self.samples(shard, rows))

    def samples(self, shard: int, rows: int | None) -> Iterator[Sample]:
        """The rows of a shard as pictures not yet compressed; arguments and errors as in `rows`."""
        found = 0
        for draw, (text, beside, u) in enumerate(self._draws(shard)):
            if found == rows:
                return
            picture = self.renderer.render(text, beside, u)
            if picture is not None:
                found += 1
                yield Sample(draw, picture)
            elif draw > _PATIENCE * (found + 20):
                raise ConfigError(
                    f"Of {draw + 1:,} draws {found:,} gave a readable picture. The contrast, heights "
                    "or widths leave too little room: loosen them."
                )

    def again(self, shard: int, draw: int) -> dict[str, Any]:
        """One row of a shard, made alone; its draw stands in the shard's column of that name.

        Raises:
            ConfigError: This draw gave no row.
        """
        for number, (text, beside, u) in enumerate(self._draws(shard)):
            if number > draw:
                break
            if number == draw:
                picture = self.renderer.render(text, beside, u)
                if picture is not None:
                    return self._row(shard, Sample(draw, picture))
        raise ConfigError(f"Draw {draw} of shard {shard} gave no row.")

    def _draws(self, shard: int) -> Iterator[tuple[str, str, list[float]]]:
        # NumPy promises a bit generator's raw stream for ever, and keeps `random` on it stable in practice.
        key = np.array([self._seed, shard * len(SPLITS) + SPLITS.index(self._split)], np.uint64)
        generator = np.random.Generator(np.random.Philox(key=key))
        while True:
            words = self._words.sample(generator, _TABLE)
            table = generator.random((_TABLE, WIDTH), dtype=np.float32)
            for i, text in enumerate(words):
                yield text, words[i - 1], table[i].tolist()

    def _row(self, shard: int, sample: Sample) -> dict[str, Any]:
        picture = sample.picture
        height, width = picture.image.shape[:2]
        coded = encode(picture.image, picture.quality)
        return {
            "id": f"{self._split}-{self._seed}-{shard:06d}-{sample.draw:06d}",
            "image": coded.tobytes() if self._coding == "jpeg" else netpbm(decode(coded)),
            "text": picture.label,
            "width": width,
            "height": height,
            "source": SOURCE,
            "split": self._split,
            "face": picture.face,
            "effects": picture.effects,
            "text_height": picture.text_height,
            "contrast": picture.contrast,
            "noise": picture.noise,
            "quality": picture.quality,
            "draw": sample.draw,
        }


@lru_cache(maxsize=4)
def generator(config: SynthesisConfig, assets: str, split: Split, seed: int) -> Generator:
    """The process's own: the next shard of the same data set starts at once.

    Args:
        assets: Folder URI.

    Raises:
        ConfigError: As `Generator`.
        DataError, StorageError: The assets are missing or damaged.
    """
    return Generator(config, Assets.open(assets), split, seed)
