import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageDraw

from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.lexicon import Lexicon, decode_with_lexicon
from crnn.metrics import PROTOCOLS, Counts
from crnn.model import CRNN
from crnn.networks import NETWORKS
from crnn.preprocess import PreprocessConfig
from crnn.recognizer import Recognizer
from pipeline.errors import ConfigError, ManifestError
from pipeline.evaluation import EMPTY_TRUTH, FILTERED, accuracy_interval, evaluate, score
from pipeline.lexicons import UNUSABLE
from pipeline.manifest import Manifest
from pipeline.protocols import FILTERS
from pipeline.readings import READING_SCHEMA
from pipeline.schema import SAMPLE_SCHEMA
from pipeline.shards import write_shard

# Ray Data warns of its own default.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")


@pytest.fixture(scope="module")
def cluster(local_ray: None) -> None:
    """Ray is there."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = NETWORKS["small"]
    weights = CRNN(network, ALNUM36.num_classes).state_dict()
    directory = tmp_path_factory.mktemp("bundle")
    geometry = PreprocessConfig(height=network.height)
    Bundle(network=network, charset=ALNUM36, preprocess=geometry, weights=weights).save(directory)
    return directory


def picture(text: str, width: int) -> bytes:
    image = Image.new("L", (width, 24), 255)
    ImageDraw.Draw(image).text((3, 6), text, 0)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def make_set(
    directory: Path, texts: list[str], shards: int = 2, spoil: int | None = None, lexicons: bool = False
) -> str:
    rows = [
        {
            "id": f"{i}",
            "image": b"no image" if i == spoil else picture(text, 40 + 9 * i % 60),
            "text": text,
            "width": 40 + 9 * i % 60,
            "height": 24,
            "source": "drawn",
            "lexicon": [text.upper(), "zebra", "!!", "other", "words"] if lexicons else None,
        }
        for i, text in enumerate(texts)
    ]
    infos = [
        write_shard(str(directory), k, pa.Table.from_pylist(rows[k::shards], schema=SAMPLE_SCHEMA))
        for k in range(shards)
    ]
    ends = {"one": [0, 1], "rest": [1, None]} if lexicons else {}
    Manifest(shards=tuple(infos), config={"lexicons": ends}).write(str(directory))
    return str(directory)


def test_every_image_is_read_as_the_recogniser_reads_it(cluster: None, bundle: Path, tmp_path: Path) -> None:
    texts = ["One", "two-2", "...", "three", "4", "five"]
    uri = make_set(tmp_path / "a", texts, spoil=3)
    other = make_set(tmp_path / "b", ["six", "seven"], shards=1)
    report = evaluate(str(bundle), {"a": uri, "b": other})
    assert [part.name for part in report.sets] == ["a", "b"]
    first, second = report.sets
    assert first.images + sum(first.excluded.values()) == len(texts)
    assert first.excluded == {EMPTY_TRUTH: 1}
    assert first.rejected == {"not_an_image": 1}
    recognizer = Recognizer.load(bundle)
    for row in first.readings.to_pylist():
        text = row["text"]
        if text == "three":
            assert row["prediction"] is None
            continue
        expected = recognizer([picture(text, row["width"])])[0]
        assert row["prediction"] == expected.text
        assert row["confidence"] == pytest.approx(expected.confidence, abs=1e-4)
    normal = PROTOCOLS["alnum36"].normalize
    pairs = [
        (normal(r["text"]), normal(r["prediction"] or ""))
        for r in first.readings.to_pylist()
        if normal(r["text"])
    ]
    assert first.counts == Counts.over(pairs)
    assert report.counts == first.counts + second.counts
    assert first.fingerprint == Manifest.read(uri).fingerprint


def test_a_lexicon_that_has_the_name_of_the_images_own_is_refused(bundle: Path, tmp_path: Path) -> None:
    uri = make_set(tmp_path / "a", ["One", "two"], lexicons=True)
    own = next(iter(Manifest.read(uri).config["lexicons"]))
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    with pytest.raises(ConfigError, match=f"--lexicon {own}: images of a have their own"):
        evaluate(str(bundle), {"a": uri}, lexicons={own: str(tmp_path / "words.txt")})


def test_each_lexicon_is_decoded_in_the_protocols_form(cluster: None, bundle: Path, tmp_path: Path) -> None:
    uri = make_set(tmp_path / "a", ["One", "two", "...", "four"], lexicons=True, spoil=1)
    (tmp_path / "words.txt").write_text("FOUR\nfive\n\nFour!\n…\n")
    report = evaluate(str(bundle), {"a": uri}, lexicons={"given": str(tmp_path / "words.txt")})
    assert report.dropped == {"given": {"blank": 2, "duplicate": 1}}
    (part,) = report.sets
    found = {row["text"]: dict(row["lexicon_predictions"] or ()) for row in part.readings.to_pylist()}
    assert found["two"] == {"one": "", "rest": "", "given": ""}  # could not be read
    assert found["One"]["one"] == "one"  # of one word, that word
    assert found["One"]["rest"] in ("zebra", "other", "words")
    assert found["four"]["given"] in ("four", "five")
    assert found["..."]["one"] == ""  # nothing is left of its only entry
    # The image that could not be read counts with every lexicon, as it does without one.
    assert {name: counts.words for name, counts in part.lexicons.items()} == dict.fromkeys(found["two"], 3)
    assert part.lexicons["one"].correct == 2
    assert part.dropped == {"one": {UNUSABLE: 1}, "rest": {"blank": 4}}
    recognizer = Recognizer.load(bundle)
    row = next(row for row in part.readings.to_pylist() if row["text"] == "four")
    pixels = recognizer.prepare(picture("four", row["width"])).pixels
    log_probs_NTV = recognizer.log_probs(pixels[None, None])
    (expected,) = decode_with_lexicon(log_probs_NTV, ALNUM36, Lexicon(["four", "five"], ALNUM36))
    assert found["four"]["given"] == expected.text


def readings(pairs: list[tuple[str, str | None]]) -> pa.Table:
    rows = [
        {
            "dataset": "set",
            "shard": 0,
            "row": i,
            "id": str(i),
            "text": text,
            "prediction": prediction,
            "reason": None if prediction is not None else "truncated",
            "seconds": 0.01,
        }
        for i, (text, prediction) in enumerate(pairs)
    ]
    return pa.Table.from_pylist(rows, schema=READING_SCHEMA)


def test_an_unreadable_image_counts_as_read_wrong() -> None:
    part = score(
        "set",
        "uri",
        readings([("ab", "ab"), ("cd", None), ("E!", "e"), ("f g", "fg")]),
        fingerprint="f",
        protocol=PROTOCOLS["alnum36"],
        chosen=FILTERS["alnum"],
    )
    assert part.excluded == {FILTERED: 2}
    assert part.rejected == {"truncated": 1}
    assert part.counts == Counts(words=2, correct=1, characters=4, edits=2, ned_sum=1.0)
    assert part.images_per_second == pytest.approx(100)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(5)
    inside = 0
    for _ in range(200):
        correct = int(generator.binomial(300, 0.8))
        low, high = accuracy_interval(Counts(words=300, correct=correct))
        inside += low <= 0.8 <= high
    assert 180 <= inside <= 200
    assert accuracy_interval(Counts()) == (0.0, 1.0)


def test_ten_words_of_ten_are_not_certainly_all_words() -> None:
    # Wilson's interval of 10 of 10 by hand: 1 / (1 + z² / 10).
    assert accuracy_interval(Counts(words=10, correct=10)) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert accuracy_interval(Counts(words=10)) == pytest.approx((0.0, 0.2775), abs=1e-4)


def test_what_can_not_be_evaluated_is_said_before_anything_is_read(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="alnum36"):
        evaluate(str(bundle), {"a": "x"}, "alnum37")
    with pytest.raises(ConfigError, match="at least one"):
        evaluate(str(bundle), {})
    with pytest.raises(ManifestError, match="manifest"):
        evaluate(str(bundle), {"a": str(tmp_path)})
    (tmp_path / "blank.txt").write_text(" \n\n")
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    for name, told in (
        ("blank", "of no use"),
        ("latin", "UTF-8"),
        ("none", "no lexicon"),
    ):
        with pytest.raises(ConfigError, match=told):
            evaluate(str(bundle), {"a": "x"}, lexicons={"l": str(tmp_path / f"{name}.txt")})
