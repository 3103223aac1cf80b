"""Bytes to line images: what strangers upload, and geometry that depends on the image alone."""

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from crnn.errors import ImageRejectedError, ModelConfigError
from crnn.preprocess import (
    MAX_BYTES,
    PAD_GREY,
    REASONS,
    GreyImage,
    PreprocessConfig,
    _by_pillow,
    decode_image,
    evened_views,
    line_image,
    line_views,
)

CONFIG = PreprocessConfig()
AS_THEY_ARE = PreprocessConfig(contrast=0)


def encoded(image: Image.Image, format_name: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def ramp(width: int = 60, height: int = 20) -> Image.Image:
    return Image.fromarray(np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1)))


@pytest.mark.parametrize("format_name", ["PNG", "BMP", "TIFF", "GIF", "PPM"])
def test_lossless_formats_give_the_same_grey(format_name: str) -> None:
    assert np.array_equal(decode_image(encoded(ramp(), format_name)), np.asarray(ramp()))


def test_a_colour_jpeg_gives_its_luma() -> None:
    grey = decode_image(encoded(ramp().convert("RGB"), "JPEG", quality=95))
    assert np.abs(grey.astype(int) - np.asarray(ramp()).astype(int)).max() <= 4


def test_a_cmyk_jpeg_is_read_the_right_way_round() -> None:
    grey = decode_image(encoded(ramp().convert("CMYK"), "JPEG", quality=95))
    assert grey[:, 0].mean() < 20
    assert grey[:, -1].mean() > 235


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.tile(np.linspace(0, 65535, 60).astype(np.uint16), (20, 1))
    assert np.array_equal(decode_image(encoded(Image.fromarray(values))), (values >> 8).astype(np.uint8))


def test_eight_bits_held_in_sixteen_are_read_as_eight() -> None:
    values = np.tile(np.linspace(0, 255, 60).astype(np.uint16), (20, 1))
    assert np.array_equal(decode_image(encoded(Image.fromarray(values))), values.astype(np.uint8))


def test_float_images_use_the_full_range() -> None:
    values = np.tile(np.linspace(-3.0, 7.5, 60).astype(np.float32), (20, 1))
    grey = decode_image(encoded(Image.fromarray(values), "TIFF"))
    assert (grey.min(), grey.max()) == (0, 255)


@pytest.mark.parametrize("ink", [0, 255])
def test_ink_on_a_transparent_ground_stays_readable(ink: int) -> None:
    picture = np.zeros((20, 60, 4), np.uint8)
    picture[8:12, 10:50] = (ink, ink, ink, 255)
    grey = decode_image(encoded(Image.fromarray(picture, "RGBA")))
    assert abs(int(grey[10, 30]) - int(grey[0, 0])) == 255


SHOWN = {
    1: lambda stored: stored,
    2: np.fliplr,
    3: lambda stored: np.rot90(stored, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: np.rot90(stored, 2).T,
    8: np.rot90,
}
"""What a viewer shows of stored pixels, by EXIF orientation (CIPA DC-008, 4.6.4)."""


@pytest.mark.parametrize("orientation", SHOWN)
def test_every_exif_orientation_comes_out_upright(orientation: int) -> None:
    stored = np.arange(60 * 4, dtype=np.uint8).reshape(12, 20)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(stored), "PNG", exif=exif)
    assert np.array_equal(decode_image(data), SHOWN[orientation](stored))


def test_the_first_picture_of_a_phone_s_multi_picture_file_is_read() -> None:
    second = Image.new("RGB", (60, 20))
    data = encoded(ramp().convert("RGB"), "MPO", save_all=True, append_images=[second], quality=95)
    assert Image.open(io.BytesIO(data)).format == "MPO"
    grey = decode_image(data)
    assert (grey[:, 0].mean(), grey[:, -1].mean()) == pytest.approx((0, 255), abs=20)


def test_the_first_frame_of_an_animation_is_read() -> None:
    data = encoded(ramp(), "GIF", save_all=True, append_images=[Image.new("L", (60, 20))])
    assert np.array_equal(decode_image(data), np.asarray(ramp()))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, I am a text file", "not_an_image"),
        (b"%PDF-1.7\n", "not_an_image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not_an_image"),
        (encoded(Image.new("L", (1, 1))), "too_small"),
        (encoded(ramp(300, 200), "JPEG")[:-800], "truncated"),
        (encoded(Image.new("1", (5000, 5000))), "too_large"),
        (encoded(Image.new("1", (10_000, 10_000))), "too_large"),  # of which Pillow would warn
        (encoded(Image.new("1", (20_000, 20_000))), "too_large"),  # which Pillow would refuse
        (bytes(MAX_BYTES + 1), "too_large"),
    ],
)
def test_bytes_that_can_not_be_read_are_rejected_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageRejectedError) as caught:
        decode_image(data)
    assert caught.value.reason == reason
    assert caught.value.detail


def decode_or_reason(data: bytes) -> tuple[GreyImage | None, str]:
    try:
        return decode_image(data), ""
    except ImageRejectedError as error:
        return None, error.reason


@settings(max_examples=300)
@given(st.binary(max_size=200), st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP"]), st.data())
def test_damaged_images_decode_or_are_rejected_and_nothing_else(
    noise: bytes, format_name: str, data: st.DataObject
) -> None:
    whole = bytearray(encoded(ramp(), format_name))
    at = data.draw(st.integers(0, len(whole)))
    whole[at : at + len(noise)] = noise
    grey, reason = decode_or_reason(bytes(whole))
    assert (reason in REASONS) if grey is None else (grey.dtype, grey.ndim) == (np.uint8, 2)


@given(st.integers(1, 3000), st.integers(1, 400))
def test_a_line_is_scaled_whole_and_pads_to_a_canonical_width(width: int, height: int) -> None:
    scaled = CONFIG.scaled_width(width, height)
    if scaled > CONFIG.max_width:
        with pytest.raises(ImageRejectedError, match="too_wide"):
            CONFIG.canonical_width(scaled)
        return
    canonical = CONFIG.canonical_width(scaled)
    assert CONFIG.canonical_width(canonical) == canonical
    assert scaled <= canonical <= max(CONFIG.min_width, scaled * 1.125 + CONFIG.width_step)
    line = line_image(np.zeros((height, width), np.uint8), AS_THEY_ARE)
    assert line.shape == (CONFIG.height, canonical)
    assert (line[:, scaled:] == PAD_GREY).all()
    assert not line[:, :scaled].any()
    assert line_image(np.zeros((height, width), np.uint8), CONFIG).shape == line.shape


def test_an_image_of_the_right_size_passes_unchanged_where_its_grey_levels_may() -> None:
    grey = np.asarray(ramp(64, 32))
    assert np.array_equal(line_image(grey, replace(AS_THEY_ARE, widening=0)), grey)


def word(ink: int, ground: int, *, height: int = 32, width: int = 90) -> GreyImage:
    """Bars that fill a third of the picture, with a little noise."""
    grey = np.full((height, width), ground, np.int64)
    grey[6:26, 5 : width - 5 : 6] = grey[6:26, 6 : width - 5 : 6] = grey[6:26, 7 : width - 5 : 6] = ink
    noisy = grey + np.random.default_rng(7).integers(-1, 2, grey.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


@given(st.integers(0, 255), st.integers(0, 255), st.sampled_from([20.0, 50.0, 80.0]))
def test_a_word_looks_the_same_in_whatever_light_it_was_seen(ink: int, ground: int, contrast: float) -> None:
    config = PreprocessConfig(widening=0, contrast=contrast)
    assume(abs(ink - ground) > 24)
    line = line_image(word(ink, ground), config)[:, :90].astype(float)
    clear = word(230, 25) if ink > ground else word(25, 230)
    assert np.corrcoef(line.ravel(), clear.ravel())[0, 1] > 0.95  # never its negative either
    assert abs(line.mean() - PAD_GREY) < 2
    assert 0.6 * contrast < line.std() < contrast


@given(st.binary(min_size=64, max_size=64), st.floats(1, 127))
def test_levels_move_as_mean_and_deviation_say(pixels: bytes, contrast: float) -> None:
    grey = np.frombuffer(pixels, np.uint8).reshape(32, 2).repeat(16, axis=1)
    wanted = 128 + contrast / (grey.std() + 4) * (grey.astype(float) - grey.mean())
    line = line_image(grey, PreprocessConfig(widening=0, contrast=contrast))[:, : grey.shape[1]]
    assert np.abs(line - np.clip(wanted, 0, 255)).max() <= 0.5 + 1e-6


def test_an_empty_picture_stays_quiet() -> None:
    """What nothing but a sensor's noise is in isn't blown up to a word's contrast."""
    noise = np.random.default_rng(7).normal(120, 1, (32, 90)).round().astype(np.uint8)
    assert line_image(noise, PreprocessConfig(widening=0))[:, :90].std() < 15


def test_a_description_that_tells_no_contrast_is_of_a_network_that_reads_levels_as_they_are() -> None:
    assert "contrast" not in AS_THEY_ARE.to_dict()
    assert PreprocessConfig.from_dict(AS_THEY_ARE.to_dict()) == AS_THEY_ARE
    for config in (CONFIG, PreprocessConfig(contrast=30)):
        assert PreprocessConfig.from_dict(config.to_dict()) == config


@given(st.integers(1, 3000), st.integers(1, 400))
def test_narrow_images_get_more_columns_and_long_ones_keep_their_aspect(width: int, height: int) -> None:
    natural = width * CONFIG.height / height
    scaled = CONFIG.scaled_width(width, height)
    assert scaled >= max(CONFIG.widening, natural - 0.5)
    assert scaled - natural <= CONFIG.widening**2 / (2 * natural) + 0.5
    assert PreprocessConfig(widening=0).scaled_width(width, height) == max(1, round(natural))
    assert scaled <= CONFIG.scaled_width(width + 1, height)


@given(st.integers(4, 200), st.integers(4, 200), st.sampled_from([0.0, 1.5, 3.0]))
def test_tall_images_are_looked_at_from_three_sides_and_others_from_one(
    width: int, height: int, turn: float
) -> None:
    config = PreprocessConfig(turn=turn)
    grey = np.random.default_rng(width).integers(0, 256, (height, width), np.uint8)
    views = line_views(grey, config)
    if not turn or height < turn * width:
        assert np.array_equal(views, line_image(grey, config))
        return
    turned = [grey, np.asarray(Image.fromarray(grey).rotate(-90, expand=True)), np.rot90(grey)]
    for view, wanted in zip(np.split(views, 3), turned, strict=True):
        line = line_image(wanted, config)
        assert np.array_equal(view[:, : line.shape[1]], line)
        assert (view[:, line.shape[1] :] == PAD_GREY).all()
    assert views.shape[1] == line_image(np.rot90(grey), config).shape[1]


@given(st.integers(4, 200), st.integers(4, 200), st.sampled_from([0.0, 20.0, 50.0]))
def test_lines_that_were_kept_as_they_are_can_still_be_evened(
    width: int, height: int, contrast: float
) -> None:
    config = PreprocessConfig(contrast=contrast)
    grey = np.random.default_rng(height).integers(90, 140, (height, width), np.uint8)
    kept = line_views(grey, replace(config, contrast=0.0))
    before = kept.copy()
    assert np.array_equal(evened_views(kept, width, height, config), line_views(grey, config))
    assert np.array_equal(kept, before)


def test_what_would_be_too_wide_once_turned_is_not() -> None:
    assert line_views(np.zeros((7000, 100), np.uint8), CONFIG).shape == (32, 48)
    odd = PreprocessConfig(max_width=1000)  # no canonical width, so that 993 pixels don't fit
    assert line_views(np.zeros((3100, 100), np.uint8), odd).shape == (32, 48)


def test_preparation_that_can_not_work_is_refused() -> None:
    with pytest.raises(ModelConfigError, match="min_width"):
        PreprocessConfig(min_width=100, max_width=50)
    with pytest.raises(ModelConfigError, match="widening"):
        PreprocessConfig(widening=-1)
    with pytest.raises(ModelConfigError, match="turn"):
        PreprocessConfig(turn=-1)
    with pytest.raises(ModelConfigError, match="contrast"):
        PreprocessConfig(contrast=200)


@given(
    st.integers(1, 40), st.integers(1, 60), st.integers(-3, 3), st.sampled_from(["\n", " ", "\r", "\n# x\n"])
)
def test_plain_grey_files_are_what_pillow_makes_of_them(
    height: int, width: int, extra: int, gap: str
) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width), np.uint8)
    body = pixels.tobytes() + bytes(max(extra, 0))
    data = f"P5{gap}{width} {height}\n255\n".encode() + (body[:extra] if extra < 0 else body)

    def outcome(read: Callable[[bytes], np.ndarray]) -> object:
        try:
            return read(data).tolist()
        except ImageRejectedError as error:
            return error.reason

    assert outcome(decode_image) == outcome(_by_pillow)
    if min(height, width) >= 3 and extra >= 0:
        assert outcome(decode_image) == pixels.tolist()
