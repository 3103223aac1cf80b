"""What a camera does to a picture: few pixels, blur, noise, exposure, compression. All of it in grey levels.

Limits follow the text's height in the picture, so that what is drawn small stays readable.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.synthesis.config import WIDEST, SynthesisConfig
from pipeline.synthesis.draws import START, Draws
from pipeline.synthesis.effects import BIT
from pipeline.synthesis.strengths import Range, within

Floats = npt.NDArray[np.float32]
Grey = npt.NDArray[np.uint8]

_LOW, _BLUR, _MOTION, _SLOPE = (
    START[name] for name in ("low_resolution", "blur", "motion_blur", "perspective_blur")
)
_NOISE, _GAMMA, _TWICE = START["noise"], START["gamma"], START["jpeg_twice"]
_ENLARGED_BY = (cv2.INTER_LINEAR, cv2.INTER_CUBIC, cv2.INTER_LANCZOS4)
_NOISE_HEIGHT = 160
_GAMMAS = 33


@dataclass(frozen=True, slots=True)
class Degraded:
    """A finished picture."""

    image: Grey
    """uint8 [H, W]."""
    resolution: float
    """Share of the pixels' number along one side that the picture was taken with."""
    noise: float
    """Standard deviation in grey levels."""
    effects: int


class Camera:
    """Takes a painted picture as a cheap camera does."""

    def __init__(self, config: SynthesisConfig) -> None:
        self._config = config
        generator = np.random.Generator(np.random.Philox(99))
        self._noises = [_noise_field(generator, coarse) for coarse in (0.0, 0.0, 0.6, 1.0)]
        self._motions = [_motion(generator, config.strengths.motion_blur) for _ in range(64)]
        low, high = config.strengths.gamma
        exponents = np.exp(np.linspace(math.log(low), math.log(high), _GAMMAS))
        levels = np.arange(256) / 255.0
        self._gammas = [np.clip(255 * levels**g, 0, 255).astype(np.uint8) for g in exponents]

    def degrade(self, image: Floats, text_height: float, contrast: float, u: Draws) -> Degraded:
        """The picture as the camera gives it.

        Args:
            image: float32 [H, W].
            text_height: In pixels.
            contrast: Of the text, in grey levels.
            u: The image's draws.
        """
        chances = self._config.chances
        height, width = image.shape
        small = text_height / (height / 32)
        effects, resolution, noise = 0, 1.0, 0.0
        if u[_LOW] < chances.low_resolution:
            resolution = self._resolution(small, u)
        if resolution < 1.0:
            image = _fewer_pixels(image, resolution)
            effects |= BIT["low_resolution"]
        if u[_BLUR] < chances.blur:
            image = self._out_of_focus(image, small, resolution, height / 32, u)
            effects |= BIT["blur"]
        if u[_MOTION] < chances.motion_blur and small > 15:
            image = self._shaken(image, u)
            effects |= BIT["motion_blur"]
        if u[_SLOPE] < chances.perspective_blur:
            image = self._sloping_blur(image, small, u)
            effects |= BIT["perspective_blur"]
        if u[_NOISE] < chances.noise:
            noise = self._noise(contrast, u)
            out: Grey = self._noisy(image, noise, u)
            effects |= BIT["noise"]
        else:
            out = cv2.add(image, 0.0, dtype=cv2.CV_8U)
        if resolution < 1.0:
            out = cv2.resize(out, (width, height), interpolation=_ENLARGED_BY[int(u[_LOW + 1] * 3)])
        if u[_GAMMA] < chances.gamma:
            out = self._exposed(out, u)
            effects |= BIT["gamma"]
        if u[_TWICE] < chances.jpeg_twice:
            out = self._compressed(out, small, u)
            effects |= BIT["jpeg_twice"]
        return Degraded(out, resolution, noise, effects)

    def _resolution(self, small: float, u: Draws) -> float:
        """Share of the pixels along a side; text of `small` pixels, in a picture 32 high, keeps the least."""
        strengths = self._config.strengths
        scale = within(strengths.scale, math.sqrt(u[_LOW] / self._config.chances.low_resolution))
        return min(1.0, max(scale, 0.9 * strengths.least_height / small))

    def _out_of_focus(self, image: Floats, small: float, resolution: float, unit: float, u: Draws) -> Floats:
        sigma = within(self._config.strengths.blur, (u[_BLUR] / self._config.chances.blur) ** 1.5)
        return _gaussian(image, sigma * min(1.0, small / 24) * unit * (0.5 if resolution < 1.0 else 1.0))

    def _shaken(self, image: Floats, u: Draws) -> Floats:
        shaken: Floats = cv2.filter2D(image, -1, self._motions[int(u[_MOTION + 1] * len(self._motions))])
        return shaken

    def _sloping_blur(self, image: Floats, small: float, u: Draws) -> Floats:
        """Out of focus towards one end, sharp towards the other."""
        ramp = np.linspace(u[_SLOPE + 2] - 0.5, 1.0, image.shape[1], dtype=np.float32).clip(0.0, 1.0)
        if u[_SLOPE + 1] < 0.5:
            ramp = ramp[::-1]
        blurred = _gaussian(image, min(self._config.strengths.perspective_blur, small / 14))
        mixed: Floats = image + (blurred - image) * ramp
        return mixed

    def _noise(self, contrast: float, u: Draws) -> float:
        """Standard deviation in grey levels."""
        drawn = within(self._config.strengths.noise, (u[_NOISE] / self._config.chances.noise) ** 3)
        return min(drawn, 0.22 * contrast)

    def _noisy(self, image: Floats, deviation: float, u: Draws) -> npt.NDArray[np.uint8]:
        height, width = image.shape
        field = self._noises[int(u[_NOISE + 1] * len(self._noises))]
        top = int(u[_NOISE + 2] * (_NOISE_HEIGHT - height))
        left = int(u[_NOISE + 3] * (WIDEST - width))
        piece = field[top : top + height, left : left + width]
        noisy: Grey = cv2.addWeighted(image, 1.0, piece, deviation, 0.0, dtype=cv2.CV_8U)
        return noisy

    def _exposed(self, image: Grey, u: Draws) -> Grey:
        exposed: Grey = cv2.LUT(image, self._gammas[int(u[_GAMMA + 1] * _GAMMAS)])
        return exposed

    def _compressed(self, image: Grey, small: float, u: Draws) -> Grey:
        quality = within(self._config.strengths.second_quality, u[_TWICE + 1])
        return decode(encode(image, quality + (0 if small > 14 else 15)))


def encode(image: npt.NDArray[np.uint8], quality: float) -> npt.NDArray[np.uint8]:
    """JPEG bytes of a grey or blue-green-red picture."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]


def decode(coded: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The picture of JPEG bytes, grey or blue-green-red as it was."""
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED))


def netpbm(image: npt.NDArray[np.uint8]) -> bytes:
    """A grey or blue-green-red picture as PGM or PPM."""
    height, width = image.shape[:2]
    kind, pixels = (b"P5", image) if image.ndim == 2 else (b"P6", image[..., ::-1])
    return b"%s\n%d %d\n255\n%s" % (kind, width, height, pixels.tobytes())


def _gaussian(image: Floats, sigma: float) -> Floats:
    kernel = 2 * math.ceil(2.5 * sigma) + 1
    blurred: Floats = cv2.GaussianBlur(image, (kernel, kernel), sigma)
    return blurred


def _fewer_pixels(image: Floats, resolution: float) -> Floats:
    height, width = image.shape
    size = (max(6, int(width * resolution)), max(8, int(height * resolution)))
    fewer: Floats = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return fewer


def _noise_field(generator: np.random.Generator, coarse: float) -> Floats:
    field = generator.standard_normal((_NOISE_HEIGHT, WIDEST), dtype=np.float32)
    if coarse:
        field = cv2.GaussianBlur(field, (0, 0), coarse)
    return field / field.std()  # type: ignore[no-any-return]


def _motion(generator: np.random.Generator, way: Range) -> Floats:
    """A short straight path of a shaking hand, as a kernel that sums to 1."""
    kernel = np.zeros((9, 9), np.float32)
    angle, far = generator.uniform(0, math.pi), generator.uniform(*way)
    x, y = far * math.cos(angle), far * math.sin(angle)
    ends = [(round((4 + s * x) * 16), round((4 + s * y) * 16)) for s in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1, 1, cv2.LINE_AA, 4)
    return kernel / kernel.sum()  # type: ignore[no-any-return]
