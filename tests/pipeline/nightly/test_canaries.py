import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from crnn.metrics import Counts
from crnn.recognizer import Recognizer
from pipeline.errors import ConfigError
from pipeline.nightly.canaries import (
    A_SHARD,
    Aviary,
    Canary,
    alarm,
    cer,
    confidence,
    fingerprint,
    load_canaries,
    share,
)


def png(text: str) -> bytes:
    image, buffer = Image.new("L", (30 + 8 * len(text), 24), 230), io.BytesIO()
    ImageDraw.Draw(image).text((4, 6), text, 20)
    image.save(buffer, "PNG")
    return buffer.getvalue()


CANARIES = [Canary(image=png(f"word{number}"), text=f"Word{number}") for number in range(5)]


def write(folder: Path, *lines: str) -> str:
    for number, canary in enumerate(CANARIES):
        (folder / f"{number}.png").write_bytes(canary.image)
    (folder / "labels.tsv").write_text("".join(f"{line}\n" for line in ("path\ttext", *lines)))
    return str(folder / "labels.tsv")


def test_canaries_are_read_from_an_annotation_and_known_by_what_they_are(tmp_path: Path) -> None:
    lines = [f"{number}.png\t{canary.text}" for number, canary in enumerate(CANARIES)]
    found = load_canaries(write(tmp_path, *lines))
    assert list(found) == CANARIES
    assert fingerprint(found) == fingerprint(CANARIES)
    assert len({fingerprint(CANARIES), fingerprint(CANARIES[::-1]), fingerprint(CANARIES[1:])}) == 3


def test_canaries_that_can_not_be_used_are_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for line, told in (
        ("none.png\tx", "missing_image"),
        ("bad.png\tx", "not_an_image"),
        ("0.png\t ", "empty_label"),
    ):
        with pytest.raises(ConfigError, match=f"{told}.*Take it out"):
            load_canaries(write(tmp_path, line))
    with pytest.raises(ConfigError, match="lists 0 images"):
        load_canaries(write(tmp_path))
    with pytest.raises(ConfigError, match="no-such"):
        load_canaries(f"{tmp_path}/no-such.tsv")


@given(count=st.integers(1, 300), shards=st.integers(1, 50))
def test_all_canaries_are_read_and_each_shard_has_its_share(count: int, shards: int) -> None:
    shares = [share(count, shard, shards) for shard in range(shards)]
    assert {place for each in shares for place in each} == set(range(count))
    assert all(len(each) == len(set(each)) >= min(count, A_SHARD) for each in shares)


def test_how_well_they_are_read_adds_up_over_shards(untrained_bundle: Path) -> None:
    recognizer = Recognizer.load(untrained_bundle)
    broken = Canary(image=b"no picture", text="lost")
    figures: dict[str, float] = {}
    aviary = Aviary(recognizer, [*CANARIES, broken])
    for shard in range(3):
        aviary.watch(shard, 3, figures)
    read = recognizer([canary.image for canary in CANARIES])
    counts = Counts.over((c.text.lower(), h.text) for c, h in zip(CANARIES, read, strict=True))
    counts += Counts.of("lost", "")
    assert cer(figures) == pytest.approx(counts.cer)
    assert confidence(figures) == pytest.approx(sum(h.confidence for h in read) / 6)
    assert figures["canaries/words"] == 18


def test_an_alarm_names_what_is_out_of_bounds() -> None:
    figures = {
        "canaries/words": 10.0,
        "canaries/characters": 50.0,
        "canaries/edits": 5.0,
        "canaries/confidence": 6.0,
    }
    assert alarm(figures, max_cer=0.1, min_confidence=0.6) is None
    assert "CER is 0.100, more than --max-canary-cer 0.05" in str(
        alarm(figures, max_cer=0.05, min_confidence=0)
    )
    assert "confidence is 0.600, less than" in str(alarm(figures, max_cer=1, min_confidence=0.7))
    assert alarm({}, max_cer=0, min_confidence=1) is None
    assert (cer({}), confidence({})) == (None, None)
