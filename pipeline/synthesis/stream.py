"""Synthetic words made while a run learns from them: shards without end, nothing stored.

synth://scene?assets=s3://bucket/assets&seed=7            each word is seen once
synth://scene?assets=s3://bucket/assets&seed=7&echo=2     twice, in different packs of one window

An echo (Choi et al. 2019, arXiv 1907.05550) pays where the GPU learns faster than the CPUs draw.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from crnn.charset import Charset
from pipeline.errors import ConfigError, DataError
from pipeline.schema import SAMPLE_SCHEMA, version
from pipeline.storage import absolute
from pipeline.synthesis.assets import DEFAULT_URI, Assets
from pipeline.synthesis.config import DRAWING, SynthesisConfig
from pipeline.synthesis.presets import PRESETS
from pipeline.synthesis.split import Split

SCHEME = "synth"
SPLIT: Split = "train"
_FIRST = 1 << 32
"""Number of the first shard: a stored data set of the same seed, whose first is 0, holds other words."""
MAX_ECHO = 8
_EXAMPLE = "synth://scene?assets=out/assets&seed=7"


def is_stream(uri: str) -> bool:
    """Whether a URI asks for a stream."""
    return uri.startswith(f"{SCHEME}:")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stream:
    """Words of the training split without end, a pure function of (seed, assets, pictures)."""

    preset: str
    """Name of the pictures' preset."""
    seed: int
    assets: str
    """Folder URI that means the same in every process."""
    assets_fingerprint: str
    pictures: SynthesisConfig
    """The preset for the run's charset, coded so that nothing has to be decompressed."""
    echo: int = 1
    """How often each word is seen."""

    @classmethod
    def open(cls, uri: str, charset: Charset) -> "Stream":
        """The stream that a URI asks for: synth://<preset>?assets=<folder>&seed=<number>&echo=<times>.

        Words that the charset can't write aren't drawn.

        Raises:
            ConfigError: The URI asks for something else, or the assets can't give it.
            DataError: There are no finished assets.
        """
        parts = urlsplit(uri, allow_fragments=False)  # nor is a "#" anything else
        query = parts.query
        try:
            # A "+" in a folder's name is one: this is no form of a web page.
            asked = {key: unquote(value) for key, value in (p.split("=", 1) for p in query.split("&") if p)}
            seed, echo = int(asked.pop("seed", "7")), int(asked.pop("echo", "1"))
        except ValueError:
            raise ConfigError(f"{uri} can't be read. Example: {_EXAMPLE}.") from None
        assets = Assets.open(absolute(asked.pop("assets", DEFAULT_URI)))
        if parts.netloc not in PRESETS or parts.path or asked:
            odd = ", ".join(asked) or f"{parts.netloc}{parts.path}"
            raise ConfigError(
                f"{uri}: {odd!r} isn't known. A stream is one of {', '.join(PRESETS)}, with assets, seed and "
                f"echo; example: {_EXAMPLE}."
            )
        if not 1 <= echo <= MAX_ECHO:
            raise ConfigError(f"{uri}: echo is 1 to {MAX_ECHO}; {echo} isn't.")
        pictures = replace(PRESETS[parts.netloc](), coding="raw")
        drawn = pictures.words.characters or assets.characters
        writable = "".join(c for c in drawn if not charset.foreign(c))
        if writable != drawn:
            pictures = replace(pictures, words=replace(pictures.words, characters=writable))
        stream = cls(
            preset=parts.netloc,
            seed=seed,
            assets=assets.uri,
            assets_fingerprint=assets.fingerprint,
            pictures=pictures,
            echo=echo,
        )
        stream.shard(0)  # says now what can't work
        return stream

    @property
    def uri(self) -> str:
        """What asks for it, in full."""
        echo = f"&echo={self.echo}" if self.echo > 1 else ""
        return f"{SCHEME}://{self.preset}?assets={quote(self.assets, safe='/:')}&seed={self.seed}{echo}"

    @property
    def config(self) -> Mapping[str, Any]:
        """All that the words, and how often they come, depend on, as a stored data set's manifest has it."""
        made = {"split": SPLIT, "seed": self.seed, "assets": self.assets_fingerprint, "drawing": DRAWING}
        return {**made, "config": asdict(self.pictures), **({"echo": self.echo} if self.echo > 1 else {})}

    @property
    def fingerprint(self) -> str:
        """32 hex digits that name the content."""
        content = json.dumps([SCHEME, version(SAMPLE_SCHEMA), self.config], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]

    @property
    def rows(self) -> None:
        """How many there are: no number, where a data set has one."""

    def shard(self, number: int) -> Iterator[dict[str, Any]]:
        """Rows of SAMPLE_SCHEMA's columns without end, the same whenever they are asked for.

        Args:
            number: Of the shard, from 0; each has words of its own.

        Raises:
            ConfigError: Hardly any draw gives a readable picture.
            DataError: The assets aren't those that the stream was opened with.
        """
        # Training without a stream shall not wait for OpenCV.
        from pipeline.synthesis.generator import generator

        made = generator(self.pictures, self.assets, SPLIT, self.seed)
        if made.assets_fingerprint != self.assets_fingerprint:
            raise DataError(
                f"{self.assets} holds assets {made.assets_fingerprint}; the run began with "
                f"{self.assets_fingerprint}. Restore them, or give the run another --name."
            )
        return made.rows(_FIRST + number)
