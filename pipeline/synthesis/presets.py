"""Named sets of chances and strengths: what kind of picture is drawn."""

import string
from dataclasses import replace

from pipeline.synthesis.config import Chances, SynthesisConfig
from pipeline.synthesis.strengths import Strengths
from pipeline.synthesis.words import WordsConfig


def scene() -> SynthesisConfig:
    """Words as on signs, shop fronts and packages, photographed by anybody."""
    return SynthesisConfig()


def document() -> SynthesisConfig:
    """Words as on printed pages, scanned or photographed: dark on light, nearly straight."""
    return SynthesisConfig(
        ordinary=1.0,
        chances=replace(
            Chances.none(),
            spacing=0.2,
            neighbour=0.25,
            weight=0.25,
            underline=0.03,
            rotation=0.4,
            shear=0.15,
            perspective=0.1,
            elastic=0.08,
            texture=0.5,
            text_texture=0.1,
            light=0.4,
            low_resolution=0.5,
            blur=0.6,
            motion_blur=0.03,
            noise=0.9,
            gamma=0.2,
            jpeg_twice=0.2,
        ),
        strengths=Strengths(
            rotation=3.0,
            shear=0.12,
            aspect=0.2,
            perspective=0.08,
            apart=0.0,
            margin=(-0.02, 0.22),
            background=(150.0, 255.0),
            contrast=(60.0, 220.0),
            texture=12.0,
            blur=(0.3, 1.5),
            noise=(1.0, 10.0),
        ),
    )


def easy() -> SynthesisConfig:
    """Plain words of letters and digits, which a small network learns to read in minutes."""
    return SynthesisConfig(
        ordinary=1.0,
        designs="all",
        words=WordsConfig(characters=string.digits + string.ascii_letters, longest=10),
        chances=replace(
            Chances.none(), rotation=0.3, shear=0.2, light=0.2, texture=0.2, blur=0.3, noise=0.5, gamma=0.1
        ),
        strengths=Strengths(
            rotation=2.0,
            shear=0.15,
            aspect=0.15,
            margin=(0.0, 0.2),
            contrast=(90.0, 236.0),
            texture=12.0,
            blur=(0.3, 0.8),
            noise=(1.0, 8.0),
        ),
    )


PRESETS = {preset.__name__: preset for preset in (scene, document, easy)}
"""By name, as recipes and `synth:` sources take them."""
