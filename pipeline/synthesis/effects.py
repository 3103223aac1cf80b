"""The effects by name, and the bits that say in a shard which of them an image has."""

EFFECTS = (
    "spacing",
    "small_caps",
    "jitter",
    "neighbour",
    "weight",
    "border",
    "shadow",
    "extrusion",
    "hollow",
    "emboss",
    "underline",
    "rotation",
    "shear",
    "stretch",
    "perspective",
    "curve",
    "elastic",
    "texture",
    "text_texture",
    "gradient_fill",
    "two_tone_fill",
    "opacity",
    "line",
    "light",
    "glare",
    "vignette",
    "occlusion",
    "low_resolution",
    "blur",
    "motion_blur",
    "perspective_blur",
    "noise",
    "gamma",
    "jpeg_twice",
    "light_on_dark",
    "oblique",
)
"""Bit i of the column `effects` is effect i; new ones go to the end, so that old shards stay readable."""

BIT = {name: 1 << i for i, name in enumerate(EFFECTS)}


def effect_names(mask: int) -> list[str]:
    """The effects of an image, from its mask."""
    return [name for name, bit in BIT.items() if mask & bit]
