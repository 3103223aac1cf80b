"""The recogniser: every kind of input, and texts that don't depend on their company."""

import io
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crnn.batching import stack
from crnn.calibration import Calibration
from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.errors import BundleError, ImageRejectedError
from crnn.fusion import Fusion, FusionConfig
from crnn.language_model import CharacterModel
from crnn.lexicon import Lexicon
from crnn.looks import further_looks
from crnn.model import CRNNConfig, seeded
from crnn.networks import PAPER, SMALL
from crnn.preprocess import PreprocessConfig, line_views
from crnn.recognizer import Recognizer
from tests.datasets import printed


def random_recognizer(network: CRNNConfig = SMALL) -> Recognizer:
    weights = seeded(network, ALNUM36.num_classes, seed=5).state_dict()
    return Recognizer(
        Bundle(network=network, charset=ALNUM36, preprocess=PreprocessConfig(), weights=weights)
    )


RECOGNIZERS = {"small": random_recognizer(SMALL), "paper": random_recognizer(PAPER)}


def noise(width: int, height: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)


def test_paths_bytes_pil_images_and_arrays_give_the_same_text(tmp_path: Path) -> None:
    array = noise(90, 30, seed=1)
    path = tmp_path / "word.png"
    Image.fromarray(array).save(path)
    images = [path, str(path), path.read_bytes(), Image.open(path), array]
    hypotheses = RECOGNIZERS["small"](images)
    assert len({(h.text, round(h.log_prob, 4)) for h in hypotheses}) == 1


def test_every_mode_of_pillow_and_every_array_is_read_or_refused_by_a_reason() -> None:
    prepare = RECOGNIZERS["small"].prepare
    grey = Image.fromarray(noise(40, 20, seed=1))
    modes = "1 L LA La P PA RGB RGBX RGBA RGBa CMYK YCbCr HSV I I;16 I;16L I;16B I;16N F LAB"
    for mode in modes.split():
        image = Image.new(mode, (40, 20))
        assert (prepare(image).width, prepare(image).height) == (40, 20)
    assert np.array_equal(prepare(grey.convert("YCbCr")).pixels, prepare(grey).pixels)
    with pytest.raises(ImageRejectedError, match=r"int64 of shape \(20, 40\); give uint8"):
        prepare(np.zeros((20, 40), np.int64))


def test_a_pil_image_is_turned_upright_by_its_exif() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    buffer = io.BytesIO()
    Image.fromarray(noise(40, 90, seed=2)).save(buffer, "PNG", exif=exif)
    recognizer = RECOGNIZERS["small"]
    from_bytes, from_pil = recognizer.prepare(buffer.getvalue()), recognizer.prepare(Image.open(buffer))
    assert (from_bytes.width, from_bytes.height) == (90, 40)
    assert np.array_equal(from_bytes.pixels, from_pil.pixels)


@pytest.mark.parametrize("name", RECOGNIZERS)
@settings(max_examples=10, deadline=None)
@given(
    st.lists(st.tuples(st.integers(3, 400), st.integers(8, 60)), min_size=1, max_size=12),
    st.integers(32, 3000),
)
def test_log_probabilities_do_not_depend_on_the_company(
    name: str, sizes: list[tuple[int, int]], budget: int
) -> None:
    """Mixed widths in mixed batches, against each image by itself."""
    recognizer = RECOGNIZERS[name]
    prepared = [recognizer.prepare(noise(w, h, seed=i)).pixels for i, (w, h) in enumerate(sizes)]
    lines, _ = recognizer.settle(prepared)
    alone = [recognizer.log_probs(stack([line]))[0] for line in lines]
    for width in {line.shape[1] for line in lines}:
        members = [i for i, line in enumerate(lines) if line.shape[1] == width]
        together = recognizer.log_probs(stack(lines[i] for i in members))
        for i, log_probs_TV in zip(members, together, strict=True):
            assert torch.allclose(log_probs_TV, alone[i], atol=1e-4, rtol=0)
    recognizer.max_columns = budget
    try:
        texts = [h.text for h in recognizer.recognise(prepared)]
    finally:
        recognizer.max_columns = 16_384
    assert texts == [recognizer.recognise([line])[0].text for line in prepared]


def test_confidences_are_calibrated_as_the_bundle_says() -> None:
    plain = RECOGNIZERS["small"]
    calibration = Calibration(bias=0.5, likelihood=-0.3, curvature=-0.02, length=0.1)
    calibrated = Recognizer(replace(plain.bundle, calibration=calibration.to_dict()))
    lines = [plain.prepare(noise(100, 32, seed)).pixels for seed in range(3)]
    before, after = plain.recognise(lines), calibrated.recognise(lines)
    assert [h.text for h in after] == [h.text for h in before]
    expected = [calibration.confidence(h.log_prob, len(h.text)) for h in before]
    assert [h.confidence for h in after] == pytest.approx(expected)
    assert [h.confidence for h in after] != pytest.approx([h.confidence for h in before])


def test_a_language_model_decides_where_the_path_is_unsure_and_can_be_left_out() -> None:
    plain = RECOGNIZERS["small"]
    config = FusionConfig(weight=2.0, looks_below=0.0)
    fusion = Fusion(model=CharacterModel(["abc", "hello"], ALNUM36), config=config)
    bundle = replace(plain.bundle, language=fusion)
    fluent, bare = Recognizer(bundle), Recognizer(bundle, language=False)
    lines = [plain.prepare(noise(width, 32, width)).pixels for width in (60, 100, 61)]
    read, before = fluent.recognise(lines, spans=True), plain.recognise(lines)
    assert bare.recognise(lines) == before
    assert [h.text for h in read] != [h.text for h in before]
    for line, found, several in zip(lines, read, fluent.recognise(lines, n_best=3), strict=True):
        (alone,) = fusion.search(fluent.log_probs(stack([line])), ALNUM36)
        assert found.text == alone.text
        assert len(found.spans) == len(found.text)
        assert several.text == found.text  # whatever a wider beam prefers
        assert len({several.text, *(h.text for h in several.alternatives)}) == 3
        listed = [h.log_prob for h in several.alternatives]
        assert listed == sorted(listed, reverse=True)
    trusting = replace(fusion, config=replace(config, sure=0.0))
    (sure,) = Recognizer(replace(bundle, language=trusting)).recognise(lines[:1])
    assert sure.text == before[0].text


def test_what_is_not_read_surely_is_looked_at_again_and_all_looks_count() -> None:
    plain = RECOGNIZERS["small"]
    calibration = Calibration(bias=0.5, likelihood=-0.3, curvature=-0.02, length=0.1)
    model = CharacterModel(["abc", "hello"], ALNUM36)
    once, twice = (
        Recognizer(
            replace(
                plain.bundle,
                calibration=calibration.to_dict(),
                language=Fusion(model=model, config=FusionConfig(looks_below=below)),
            )
        )
        for below in (0.0, 0.685)
    )
    lines = [plain.prepare(noise(20 + 9 * i, 32, i)).pixels for i in range(12)]
    expected = []
    for line, first in zip(lines, once.recognise(lines), strict=True):
        looks = [line, *further_looks(line, plain.bundle.preprocess)]
        seen = [plain.log_probs(stack([look]))[0] for look in looks]
        (together,) = calibration.apply(Fusion(model=model).search_looks([seen], ALNUM36))
        expected.append(together if first.confidence < 0.685 else first)
    read = twice.recognise(lines, spans=True)
    assert [h.text for h in read] == [h.text for h in expected]
    assert [h.confidence for h in read] == pytest.approx([h.confidence for h in expected], rel=1e-3)
    changed = [a.text != b.text for a, b in zip(read, once.recognise(lines), strict=True)]
    assert any(changed)
    assert not all(changed)
    assert all(len(h.spans) == len(h.text) for h in read)
    several = twice.recognise(lines, n_best=4)
    assert [h.text for h in several] == [h.text for h in read]
    for found in several:
        for each in (found, *found.alternatives):
            assert each.confidence == pytest.approx(math.exp(each.log_prob))
    assert [twice.recognise([line])[0].text for line in lines] == [h.text for h in read]


def test_every_character_has_a_box_in_the_original_whichever_way_it_was_read() -> None:
    recognizer = RECOGNIZERS["small"]
    line = recognizer.prepare(noise(185, 50, seed=4))  # without padding, where this net reads letters too
    lexicon = Lexicon(["abc", "hello"], ALNUM36)
    (several,) = recognizer.recognise([line.pixels], spans=True, n_best=3)
    (listed,) = recognizer.recognise([line.pixels], spans=True, lexicon=lexicon, n_best=2)
    assert (len(several.alternatives), len(listed.alternatives)) == (2, 1)
    for found in (
        *recognizer.recognise([line.pixels], spans=True),
        *(several, *several.alternatives),
        *(listed, *listed.alternatives),
    ):
        boxes = recognizer.boxes(line, found)
        assert len(boxes) == len(found.text) > 0
        assert all(0 <= left < right <= 185 for left, right in boxes)
        assert all(a[1] == b[0] for a, b in pairwise(boxes))


def test_a_word_that_runs_up_or_down_is_read_and_boxed_along_its_run() -> None:
    recognizer = Recognizer.load("latin94-small")
    word = np.asarray(printed("Station"))
    width = word.shape[1]
    for turn, seen in ((0, word), (90, np.rot90(word)), (270, np.rot90(word, -1))):
        line = recognizer.prepare(np.ascontiguousarray(seen))
        (found,) = recognizer.recognise([line.pixels], spans=True)
        assert (found.text, found.turned) == ("Station", turn)
        boxes = recognizer.boxes(line, found)
        assert boxes[0][0] < 15
        assert width - 15 < boxes[-1][1] <= width
        (several,) = recognizer.recognise([line.pixels], spans=True, n_best=3)
        for other in several.alternatives:
            assert other.turned == turn
            assert recognizer.boxes(line, other)[-1][1] > width - 25
        (listed,) = recognizer.recognise(
            [line.pixels], lexicon=Lexicon(["Stanton", "Station"], recognizer.bundle.charset)
        )
        assert (listed.text, listed.turned) == ("Station", turn)
    assert len(recognizer.prepare(np.ascontiguousarray(np.rot90(word))).pixels) == 3 * 32


def test_a_bundle_that_is_not_calibrated_takes_images_as_they_are() -> None:
    recognizer = RECOGNIZERS["small"]
    tall = noise(10, 40, seed=3)
    line = recognizer.prepare(tall)
    assert len(line.pixels) == 32
    (found,) = recognizer.recognise([line_views(tall, PreprocessConfig())])  # as another bundle prepares it
    assert found.turned == 0


def test_several_texts_come_likeliest_first_and_a_lexicon_leaves_no_others() -> None:
    recognizer = RECOGNIZERS["small"]
    lines = [recognizer.prepare(noise(width, 32, seed=width)).pixels for width in (60, 90, 61)]
    for found in recognizer.recognise(lines, n_best=4):
        listed = [found.log_prob, *(h.log_prob for h in found.alternatives)]
        assert len(listed) == 4
        assert listed == sorted(listed, reverse=True)
    lexicon = Lexicon(["abc", "hello"], ALNUM36)
    assert {h.text for h in recognizer.recognise(lines, lexicon=lexicon)} <= {"abc", "hello"}


def test_other_texts_are_added_to_the_best_path_which_stays_as_it_is() -> None:
    recognizer = RECOGNIZERS["small"]
    lines = [recognizer.prepare(noise(width, 32, seed=width)).pixels for width in (60, 90, 61)]
    for found, plain, beam in zip(
        recognizer.recognise(lines, others=3),
        recognizer.recognise(lines),
        recognizer.recognise(lines, n_best=4),
        strict=True,
    ):
        assert (found.text, found.log_prob, found.confidence) == (
            plain.text,
            plain.log_prob,
            plain.confidence,
        )
        likeliest = [other.text for other in (beam, *beam.alternatives) if other.text != plain.text]
        assert [other.text for other in found.alternatives] == likeliest[:3]


def test_no_images_give_no_texts() -> None:
    assert RECOGNIZERS["small"]([]) == []


def test_what_can_not_be_read_says_why() -> None:
    with pytest.raises(ImageRejectedError, match="not_an_image"):
        RECOGNIZERS["small"]([b"not an image at all"])


def test_a_scheme_that_nobody_resolves_is_named() -> None:
    with pytest.raises(BundleError, match=r"gopher://.*schemes known"):
        Recognizer.load("gopher://somewhere/bundle")


def test_a_bundle_loads_from_its_folder(tmp_path: Path) -> None:
    RECOGNIZERS["small"].bundle.save(tmp_path)
    image = noise(80, 32, seed=3)
    assert Recognizer.load(tmp_path)([image]) == RECOGNIZERS["small"]([image])
