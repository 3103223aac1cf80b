"""Images of every kind as files: what decodes again is what went in."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crnn.encoding import ImageLike, encoded
from crnn.errors import ImageRejectedError

GREY = np.random.default_rng(0).integers(0, 256, (9, 14), np.uint8)


def again(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def test_a_file_is_its_own_bytes(tmp_path: Path) -> None:
    path = tmp_path / "word.png"
    Image.fromarray(GREY).save(path)
    data = path.read_bytes()
    assert encoded(data) == encoded(path) == encoded(str(path)) == data


@pytest.mark.parametrize("channels", [0, 3, 4])
def test_an_array_comes_back_as_it_was(channels: int) -> None:
    array = np.repeat(GREY[..., None], channels, axis=2) if channels else GREY
    assert np.array_equal(np.asarray(again(encoded(array))), array)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "F", "CMYK"])
def test_a_picture_keeps_its_mode_and_pixels(mode: str) -> None:
    picture = Image.fromarray(GREY).convert(mode)
    back = again(encoded(picture))
    assert back.mode == mode
    assert np.array_equal(np.asarray(back.convert(mode)), np.asarray(picture))


def test_a_mode_that_no_file_keeps_is_converted() -> None:
    assert again(encoded(Image.fromarray(GREY).convert("RGB").convert("HSV"))).mode == "RGB"


def test_an_array_that_is_no_image_is_rejected() -> None:
    with pytest.raises(ImageRejectedError, match=r"float64 of shape \(2, 3, 4, 5\)"):
        encoded(np.zeros((2, 3, 4, 5)))


@pytest.mark.parametrize("nothing", [GREY[5:5], GREY[:, 3:3], Image.new("L", (0, 7))])
def test_what_has_no_pixels_is_rejected(nothing: ImageLike) -> None:
    with pytest.raises(ImageRejectedError) as error:
        encoded(nothing)
    assert error.value.reason == "too_small"
