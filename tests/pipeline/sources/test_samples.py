import io

import numpy as np
import pytest
from PIL import Image

from crnn.errors import ImageRejectedError
from crnn.preprocess import decode_image
from pipeline.sources.samples import (
    BAD_ENCODING,
    CONTROL_CHARACTER,
    EMPTY_LABEL,
    OUTSIDE_SCENE,
    Reject,
    Sample,
    admit,
    cut,
)


def encoded(image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, options.pop("format", "PNG"), **options)
    return buffer.getvalue()


SCENE = Image.fromarray(np.arange(60 * 100, dtype=np.uint32).reshape(60, 100).astype(np.uint8))


def test_bytes_are_kept_as_they_are_with_the_size_of_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    data = encoded(SCENE, format="JPEG", exif=exif)
    sample = admit(id="1", text="word", image=data, where="x:1", split="test", lexicon=["word", "other"])
    assert isinstance(sample, Sample)
    assert sample.image == data
    assert (sample.width, sample.height) == (60, 100)
    assert (sample.split, sample.lexicon) == ("test", ("word", "other"))


@pytest.mark.parametrize(
    ("text", "image", "reason"),
    [
        ("", encoded(SCENE), EMPTY_LABEL),
        ("  ", encoded(SCENE), EMPTY_LABEL),
        ("\ud800", encoded(SCENE), BAD_ENCODING),
        ("two\nlines", encoded(SCENE), CONTROL_CHARACTER),
        ("one\ttab", encoded(SCENE), CONTROL_CHARACTER),
        ("para\u2029graph", encoded(SCENE), CONTROL_CHARACTER),
        ("word", b"", "empty"),
        ("word", b"text", "not_an_image"),
        ("word", encoded(SCENE)[:200], "truncated"),
    ],
)
def test_what_can_not_be_kept_says_where_and_why(text: str, image: bytes, reason: str) -> None:
    reject = admit(id="1", text=text, image=image, where="gt.txt:7")
    assert isinstance(reject, Reject)
    assert reject.reason == reason
    assert "gt.txt:7" in reject.detail
    assert reject.text == text


def test_a_box_is_cut_out_exactly() -> None:
    crop = decode_image(cut(encoded(SCENE), (10.2, 20.4, 30.0, 10.0)))
    assert np.array_equal(crop, np.asarray(SCENE)[20:30, 10:40])


def test_what_sticks_out_of_the_scene_is_left_off() -> None:
    assert decode_image(cut(encoded(SCENE), (-5, 50, 20, 90))).shape == (10, 15)


@pytest.mark.parametrize("box", [(200.0, 0, 5, 5), (0, 0, 0, 5), (-9, -9, 5, 5)])
def test_a_box_outside_of_its_scene_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ImageRejectedError) as error:
        cut(encoded(SCENE), box)
    assert error.value.reason == OUTSIDE_SCENE


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "CMYK", "RGBA", "LA", "1", "I", "I;16", "F"])
def test_what_is_cut_is_what_reading_the_scene_would_show(mode: str) -> None:
    if mode in ("I;16", "I", "F"):
        picture = Image.fromarray(np.asarray(SCENE).astype(np.uint16) * 200)
        picture = picture if mode == "I;16" else picture.convert("I").convert(mode)
    else:
        picture = SCENE.convert(mode)
    if mode in ("RGBA", "LA"):
        picture.putalpha(SCENE.point(lambda grey: 255 if grey < 128 else 30))
    scene = encoded(picture, format="TIFF" if mode in ("CMYK", "I", "F") else "PNG")
    whole = decode_image(scene)
    assert np.ptp(whole) > 100  # ink and paper are there
    assert np.array_equal(decode_image(cut(scene, (20, 10, 50, 30))), whole[10:40, 20:70])
