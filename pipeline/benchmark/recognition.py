"""How fast images become texts: files to line images, and line images to texts with fresh weights.

What weights compute takes equally long whether they are trained or not; what decoding takes does not, and
is measured on posteriors that are peaked as a trained network's.
"""

import io
import time
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch
from PIL import Image

from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.lexicon import decode_with_lexicon
from crnn.model import forward_flops, seeded
from crnn.networks import NETWORKS
from crnn.precision import Precision
from crnn.preprocess import GreyImage, PreprocessConfig, decode_image, line_image
from crnn.recognizer import Recognizer
from pipeline.benchmark.decoding import SMALL, common_words, own_lexicons
from pipeline.benchmark.measure import Row, Setting, computations, fair_clock, rate, row, torch_threads
from pipeline.benchmark.posteriors import peaked_posteriors

WIDTH = 100
"""Pixels of the images, as in the paper's training."""
_FILES = 64
_IMAGES = {"cpu": 64, "cuda": 4_096}
_SURE = 1e4
"""Factor of the last layer that makes the likeliest class of a frame all but certain."""
_UNIT = "images/s"


def preparation(setting: Setting) -> Iterator[Row]:
    """Encoded photographs of words to line images, by one core; Pillow's bare work is the ceiling."""
    for format_name in ("JPEG", "PNG"):
        generator = np.random.default_rng(0)
        files = [photograph(generator, format_name) for _ in range(_FILES)]
        yield row(
            "prepare",
            f"{format_name} to line",
            _UNIT,
            rate(partial(_prepare, files, PreprocessConfig()), setting, time.process_time),
            ceiling=rate(partial(_decode, files, PreprocessConfig()), setting, time.process_time).median,
            bound="Pillow's decoding and scaling alone",
        )


def recognition(setting: Setting) -> Iterator[Row]:
    """Line images in memory to texts; a large matrix product on the same device is the ceiling.

    Then the same on one thread with a lexicon for each image, whose ceiling is having none.
    """
    device = torch.device(setting.device)
    lines = _lines(_IMAGES[device.type])
    for precision, threads, flops, manner in computations(setting):
        for network in setting.networks:
            recognizer = fresh_recognizer(network, setting.device, precision)
            with torch_threads(threads):
                found = rate(partial(_read, recognizer, lines), setting, fair_clock(device, threads))
            yield row(
                "recognise",
                f"{network} {manner}",
                _UNIT,
                found,
                ceiling=flops / forward_flops(NETWORKS[network], ALNUM36.num_classes, WIDTH),
                bound="matrix product",
            )
    words = common_words(_IMAGES["cpu"])
    packs, clock = peaked_posteriors(words, ALNUM36, seed=0), fair_clock(device, 1)
    lexicons = own_lexicons(packs, words)

    def read_with_lexicons(recognizer: Recognizer) -> int:
        for pack, own in zip(packs, lexicons, strict=True):
            decode_with_lexicon(pack.log_probs_NTV, ALNUM36, own)
        return _read(recognizer, lines)

    for network in setting.networks:
        recognizer = fresh_recognizer(network, setting.device)
        with torch_threads(1):
            plain = rate(partial(_read, recognizer, lines), setting, clock)
            found = rate(partial(read_with_lexicons, recognizer), setting, clock)
        yield row(
            "recognise",
            f"{network} fp32 with {SMALL}-word lexicons",
            _UNIT,
            found,
            ceiling=plain.median,
            bound="without lexicons",
        )


def fresh_recognizer(network: str, device: str = "cpu", precision: Precision = "fp32") -> Recognizer:
    """A recogniser with seeded, untrained weights that is as sure as a trained one: an unsure one reads twice
    in bf16."""
    weights = seeded(NETWORKS[network], ALNUM36.num_classes, seed=0).state_dict()
    weights[f"linears.{NETWORKS[network].lstm_layers - 1}.weight"] *= _SURE
    bundle = Bundle(
        network=NETWORKS[network],
        charset=ALNUM36,
        preprocess=PreprocessConfig(height=NETWORKS[network].height),
        weights=weights,
    )
    return Recognizer(bundle, device=device, precision=precision)


def _lines(count: int) -> list[GreyImage]:
    generator = np.random.default_rng(0)
    return list(generator.integers(0, 256, (count, PreprocessConfig().height, WIDTH), np.uint8))


def _read(recognizer: Recognizer, lines: Sequence[GreyImage]) -> int:
    return len(recognizer.recognise(lines))


def photograph(generator: np.random.Generator, format_name: str) -> bytes:
    """A picture of a word's size with a photograph's share of detail: noise, blurred by scaling it up."""
    coarse = Image.fromarray(generator.integers(0, 256, (16, 40, 3), np.uint8))
    buffer = io.BytesIO()
    coarse.resize((160, 64), Image.Resampling.BICUBIC).save(buffer, format_name)
    return buffer.getvalue()


def _decode(files: Sequence[bytes], geometry: PreprocessConfig) -> int:
    for data in files:
        with Image.open(io.BytesIO(data)) as image:
            image.draft("L", None)
            size = (geometry.scaled_width(*image.size), geometry.height)
            image.convert("L").resize(size, Image.Resampling.BICUBIC)
    return len(files)


def _prepare(files: Sequence[bytes], geometry: PreprocessConfig) -> int:
    for data in files:
        line_image(decode_image(data), geometry)
    return len(files)
