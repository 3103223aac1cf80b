"""Small data sets of plainly printed words, for tests of what comes after synthesis."""

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from pipeline.manifest import Manifest
from pipeline.shards import write_shard


def printed(text: str, seed: int = 0) -> Image.Image:
    """A grey picture of a text, 32 pixels high, black on white with a little noise of its own."""
    font = ImageFont.load_default(22)
    width = max(16, round(font.getlength(text)) + 12)
    image = Image.new("L", (width, 32), 255)
    ImageDraw.Draw(image).text((6, 3), text, 0, font)
    noise = np.random.default_rng(seed).integers(-20, 21, (32, width))
    return Image.fromarray(np.clip(np.asarray(image, np.int16) + noise, 0, 255).astype(np.uint8))


def png(image: Image.Image) -> bytes:
    """Its bytes as a file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def word_rows(words: Sequence[str], prefix: str = "word") -> list[dict[str, object]]:
    """Rows of SAMPLE_SCHEMA, one a word."""
    rows: list[dict[str, object]] = []
    for i, word in enumerate(words):
        image = printed(word, i)
        rows.append(
            {
                "id": f"{prefix}-{i:05d}",
                "image": png(image),
                "text": word,
                "width": image.width,
                "height": image.height,
                "source": "tests",
            }
        )
    return rows


def write_data_set(
    folder: str, rows: Sequence[dict[str, object]], *, shard_rows: int, **config: object
) -> Manifest:
    """Writes rows as shards of at most `shard_rows`, and the manifest, with `config` for what made them."""
    shards = [
        write_shard(folder, i, pa.Table.from_pylist(list(rows[start : start + shard_rows])))
        for i, start in enumerate(range(0, len(rows), shard_rows))
    ]
    manifest = Manifest(shards=tuple(shards), config=config)
    manifest.write(folder)
    return manifest
