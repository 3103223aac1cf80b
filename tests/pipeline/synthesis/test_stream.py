"""A stream: the same words whenever they are asked for, in each shard others, none of the other split."""

import json
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from crnn.charset import ALNUM36, LATIN94
from crnn.preprocess import decode_image
from pipeline.errors import ConfigError, DataError
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.generator import Generator
from pipeline.synthesis.presets import easy
from pipeline.synthesis.split import split_of
from pipeline.synthesis.stream import Stream, is_stream


@pytest.fixture(scope="module")
def stream(tiny_assets: str) -> Stream:
    return Stream.open(f"synth://easy?assets={tiny_assets}&seed=5", LATIN94)


def some(stream: Stream, shard: int, count: int = 30) -> list[dict[str, Any]]:
    return list(islice(stream.shard(shard), count))


def test_a_shard_is_the_same_every_time_and_another_one_has_other_words(stream: Stream) -> None:
    first = some(stream, 3)
    assert some(stream, 3, 40)[:30] == first
    ids = [row["id"] for shard in (0, 3, 4) for row in some(stream, shard)]
    assert len(set(ids)) == 90
    assert [r["text"] for r in some(stream, 4)] != [r["text"] for r in first]


def test_a_stored_data_set_of_the_same_seed_holds_other_words(stream: Stream) -> None:
    made = Generator(easy(), Assets.open(stream.assets), "train", stream.seed)
    texts = [[str(row["text"]) for row in rows] for rows in (made.rows(0, 30), some(stream, 0))]
    assert texts[0] != texts[1]


def test_every_word_and_every_face_is_of_the_training_split(tiny_assets: str) -> None:
    stream = Stream.open(f"synth://scene?assets={tiny_assets}", LATIN94)
    faces = Assets.open(tiny_assets).faces
    assert {face.split for face in faces} == {"train", "validation"}
    for row in some(stream, 0, 200):
        assert split_of(row["text"]) == faces[row["face"]].split == row["split"] == "train"


def test_pictures_need_no_decoder_and_have_the_size_that_their_rows_say(stream: Stream) -> None:
    for row in some(stream, 1):
        assert row["image"].startswith(b"P5")
        assert decode_image(row["image"]).shape == (row["height"], row["width"])


def test_no_word_is_drawn_that_the_charset_can_not_write(tiny_assets: str) -> None:
    stream = Stream.open(f"synth://scene?assets={tiny_assets}", ALNUM36)
    texts = [row["text"] for row in some(stream, 0, 200)]
    assert not ALNUM36.unsupported("".join(texts))
    assert any(text != text.lower() for text in texts)
    written = Stream.open(f"synth://scene?assets={tiny_assets}", LATIN94)
    assert any(ALNUM36.unsupported(row["text"]) for row in some(written, 0, 200))
    assert stream.fingerprint != written.fingerprint


def test_its_uri_in_full_opens_it_again(stream: Stream, tmp_path: Path) -> None:
    assert is_stream(stream.uri)
    assert not is_stream("s3://b/synth")
    assert Stream.open(stream.uri, LATIN94) == stream
    odd = tmp_path / "a & b=?#%"
    odd.symlink_to(stream.assets)
    elsewhere = Stream.open(replace(stream, assets=str(odd)).uri, LATIN94)
    assert elsewhere.assets == str(odd)
    assert elsewhere.fingerprint == stream.fingerprint  # content is what counts, not where it lies


def test_another_seed_preset_or_folder_of_assets_is_another_stream(
    stream: Stream, tiny_assets: str, small_assets: str
) -> None:
    others = [("easy", tiny_assets, 6), ("scene", tiny_assets, 5), ("easy", small_assets, 5)]
    found = {Stream.open(f"synth://{p}?assets={a}&seed={s}", LATIN94).fingerprint for p, a, s in others}
    assert len(found | {stream.fingerprint}) == 4


def test_an_echo_is_another_stream_of_the_same_words(stream: Stream) -> None:
    twice = Stream.open(f"{stream.uri}&echo=2", LATIN94)
    assert (stream.echo, twice.echo) == (1, 2)
    assert Stream.open(twice.uri, LATIN94) == twice
    assert twice.fingerprint != stream.fingerprint
    assert some(twice, 3) == some(stream, 3)
    assert Stream.open(f"{stream.uri}&echo=1", LATIN94).fingerprint == stream.fingerprint


def test_assets_that_were_changed_since_are_refused(stream: Stream) -> None:
    with pytest.raises(DataError, match="the run began with 00ff"):
        replace(stream, assets_fingerprint="00ff").shard(0)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("scenes", "'scenes' isn't known.*scene, document, easy"),
        ("scene/more", "'scene/more' isn't known"),
        ("scene?sed=7", "'sed' isn't known"),
        ("scene?seed=x", "can't be read. Example: synth://scene"),
        ("scene?seed", "can't be read"),
        ("scene?echo=x", "can't be read"),
        ("scene?echo=0", "echo is 1 to 8; 0 isn't"),
        ("scene?echo=9", "echo is 1 to 8; 9 isn't"),
        ("scene?seed=-1", "A seed is a whole number"),
    ],
)
def test_what_asks_for_no_stream_is_refused_with_an_example(tiny_assets: str, query: str, told: str) -> None:
    joined = f"synth://{query}{'&' if '?' in query else '?'}assets={tiny_assets}"
    with pytest.raises(ConfigError, match=told):
        Stream.open(joined, LATIN94)


def test_a_stream_without_assets_says_how_they_are_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"jobs/assets.py --output"):
        Stream.open(f"synth://scene?assets={tmp_path}", LATIN94)


def test_what_it_was_made_of_is_plain_json(stream: Stream) -> None:
    told = json.loads(json.dumps(stream.config))
    assert (told["split"], told["seed"]) == ("train", 5)
    assert told["assets"] == Assets.open(stream.assets).fingerprint
    assert told["config"]["words"]["longest"] == 10
