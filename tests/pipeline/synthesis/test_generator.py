import hashlib
import multiprocessing
import string
from dataclasses import replace
from typing import Literal

import cv2
import numpy as np
import pyarrow as pa
import pytest

from pipeline.errors import ConfigError
from pipeline.schema import SAMPLE_SCHEMA, conform
from pipeline.synthesis.assets import Assets, Face
from pipeline.synthesis.config import DRAWING, Chances, SynthesisConfig
from pipeline.synthesis.generator import Generator
from pipeline.synthesis.presets import scene
from pipeline.synthesis.split import SPLITS, split_of
from pipeline.synthesis.strengths import Strengths
from pipeline.synthesis.words import WordsConfig

ROWS = 60


@pytest.fixture
def assets(tiny_assets: str) -> Assets:
    return Assets.open(tiny_assets)


def shard(assets: str, number: int) -> bytes:
    """A digest of a shard, from a generator that makes nothing else."""
    return digest(Generator(scene(), Assets.open(assets), "train", 7).shard(number, ROWS))


def digest(table: pa.Table) -> bytes:
    return hashlib.sha256(repr(table.to_pylist()).encode()).digest()


def test_a_shard_has_the_same_bytes_in_any_order_and_any_process(tiny_assets: str, assets: Assets) -> None:
    generator = Generator(scene(), assets, "train", 7)
    here = {number: digest(generator.shard(number, ROWS)) for number in (2, 0, 1, 0)}
    assert len(set(here.values())) == 3
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        there = pool.starmap(shard, [(tiny_assets, number) for number in (1, 2, 0)])
    assert there == [here[1], here[2], here[0]]


def test_a_shorter_shard_is_the_beginning_of_a_longer_one(assets: Assets) -> None:
    generator = Generator(scene(), assets, "train", 7)
    long = generator.shard(3, ROWS)
    assert generator.shard(3, 20) == long.slice(0, 20)
    assert generator.shard(3, 0).num_rows == 0


def test_a_shard_longer_than_one_table_of_draws_has_no_row_twice(assets: Assets) -> None:
    config = SynthesisConfig(chances=Chances.none(), words=WordsConfig(longest=6))
    table = Generator(config, assets, "train", 7).shard(0, 2_100)
    draws = table["draw"].to_pylist()
    assert draws == sorted(set(draws))
    assert len(set(table["id"].to_pylist())) == 2_100
    assert len(set(table["image"].to_pylist())) > 2_090


@pytest.mark.parametrize("colour", ["grey", "rgb"])
def test_raw_pictures_are_those_of_the_jpegs(assets: Assets, colour: Literal["grey", "rgb"]) -> None:
    config = replace(scene(), colour=colour)
    coded = Generator(config, assets, "train", 7).shard(0, 20)
    raw = Generator(replace(config, coding="raw"), assets, "train", 7).shard(0, 20)
    assert coded.drop(["image"]) == raw.drop(["image"])
    for jpeg, plain in zip(coded["image"].to_pylist(), raw["image"].to_pylist(), strict=True):
        assert plain[:2] == (b"P5" if colour == "grey" else b"P6")
        kept = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(kept, cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_UNCHANGED))


def test_a_row_is_made_again_alone_from_its_draw(assets: Assets) -> None:
    generator = Generator(scene(), assets, "train", 7)
    for row in generator.shard(5, ROWS).to_pylist()[:: ROWS // 4]:
        assert Generator(scene(), assets, "train", 7).again(5, row["draw"]) == row


def test_a_draw_that_gave_no_row_is_said_to_have_given_none(assets: Assets) -> None:
    generator = Generator(scene(), assets, "train", 7)
    table = generator.shard(0, 200)
    skipped = set(range(table["draw"][-1].as_py())) - set(table["draw"].to_pylist())
    assert skipped
    with pytest.raises(ConfigError, match=f"Draw {min(skipped)} of shard 0 gave no row"):
        generator.again(0, min(skipped))
    with pytest.raises(ConfigError, match="Draw -1"):
        generator.again(0, -1)


def test_seeds_splits_and_shards_share_no_picture(assets: Assets) -> None:
    config = SynthesisConfig(chances=Chances().only(("noise",)))
    seen: set[bytes] = set()
    made = 0
    for seed, split, numbers in ((7, "train", (0, 1)), (2**63 - 1, "train", (0,)), (7, "validation", (0, 1))):
        generator = Generator(config, assets, split, seed)  # type: ignore[arg-type]
        for number in numbers:
            seen.update(generator.shard(number, 20)["image"].to_pylist())
            made += 20
    assert len(seen) == made


def test_training_and_validation_share_neither_word_nor_design(assets: Assets) -> None:
    train, validation = (
        Generator(scene(), assets, split, 7).shard(0, 300) for split in ("train", "validation")
    )
    words = [{text.casefold() for text in table["text"].to_pylist()} for table in (train, validation)]
    designs = [{assets.faces[i].design for i in table["face"].to_pylist()} for table in (train, validation)]
    assert not words[0] & words[1]
    assert not designs[0] & designs[1]
    assert all(len(some) > 150 for some in words)


def test_rows_conform_to_the_schema_and_hold_what_they_say(assets: Assets) -> None:
    for colour in ("grey", "rgb"):
        config = replace(scene(), colour=colour)
        table = conform(Generator(config, assets, "validation", 7).shard(4, ROWS), SAMPLE_SCHEMA)
        for row in table.to_pylist():
            image = cv2.imdecode(np.frombuffer(row["image"], np.uint8), cv2.IMREAD_UNCHANGED)
            assert image is not None
            assert image.shape[:2] == (row["height"], row["width"])
            assert image.ndim == (2 if colour == "grey" else 3)
            assert row["split"] == "validation"
            assert row["id"] == f"validation-7-000004-{row['draw']:06d}"


def test_a_config_that_allows_no_picture_is_refused_instead_of_tried_for_ever(assets: Assets) -> None:
    config = SynthesisConfig(strengths=Strengths(least_contrast=255.0))
    with pytest.raises(ConfigError, match="draws 0 gave a readable picture"):
        Generator(config, assets, "train", 7).shard(0, 5)


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(assets: Assets, seed: int) -> None:
    with pytest.raises(ConfigError, match="A seed is a whole number"):
        Generator(scene(), assets, "train", seed)


GOLDEN = {4: "662eb84562939ac66b1045be9b7e98fb"}
"""By DRAWING, of OpenCV as pinned; a change of it is a change of every data set, and must be meant."""


def test_a_shard_is_to_the_byte_what_it_was_when_this_was_written() -> None:
    """With letters, surfaces and words that come from no library, so that only the drawing is pinned."""
    table = Generator(scene(), drawn_assets(), "train", 7).shard(0, 200)
    assert hashlib.sha256(b"".join(table["image"].to_pylist())).hexdigest()[:32] == GOLDEN[DRAWING]


def drawn_assets() -> Assets:
    """One face of each split in OpenCV's stroked letters."""
    characters = string.digits + string.ascii_letters + "-.!"
    glyphs, index, offset = [], np.zeros((2, len(characters), 7), np.int32), 0
    for face in (0, 1):
        for i, character in enumerate(characters):
            canvas = np.zeros((60, 60), np.uint8)
            cv2.putText(canvas, character, (10, 45), (0, 3)[face], 1.4, 255, 3, cv2.LINE_AA)
            x, y, width, height = cv2.boundingRect(canvas)
            glyphs.append(canvas[y : y + height, x : x + width].ravel())
            index[face, i] = (offset, width, height, x - 10, y - 45, (width + 4) * 64, 1)
            offset += width * height
    letters = string.ascii_lowercase
    words = [a + b + c + d for a in letters[::3] for b in "aeiou" for c in letters[::2] for d in ("", "er")]
    noise = np.random.Generator(np.random.Philox(1)).integers(0, 256, (4, 64, 512), np.uint8)
    faces = [
        Face(
            name=split,
            family=split,
            design=split,
            kind="sign",
            split=split,
            case="both",
            file="",
            sha256="",
            package="",
            version="",
            licence="",
        )
        for split in SPLITS
    ]
    return Assets(
        uri="drawn",
        fingerprint="",
        characters=characters,
        cap_height=30,
        faces=tuple(faces),
        glyphs=np.concatenate(glyphs),
        index=index,
        kerning=np.zeros((2, len(characters), len(characters)), np.int8),
        textures=np.stack([cv2.blur(tile, (3, 3)) for tile in noise]),
        words=pa.table(
            {
                "table": ["dictionary"] * len(words),
                "split": [split_of(word) for word in words],
                "word": words,
                "weight": [1.0] * len(words),
            }
        ),
        record={},
    )
