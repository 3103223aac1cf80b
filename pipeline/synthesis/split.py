"""Which words and font designs are for training and which for validation: never the same."""

import hashlib
from typing import Literal, get_args

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = get_args(Split)
VALIDATION_SHARE = 0.03
"""Of all keys."""


def split_of(key: str) -> Split:
    """The split that a key belongs to, for ever and everywhere: a function of its text alone.

    Args:
        key: A word or the name of a font design. Case is folded: Exit and EXIT are one word to a reader.
    """
    return "validation" if rank_of(key) < VALIDATION_SHARE else "train"


def rank_of(key: str) -> float:
    """The key's place in [0, 1), as if drawn at random once."""
    # casefold alone isn't idempotent for a few characters (ᾼ), whose upper case would get another place.
    folded = key.upper().casefold()
    digest = hashlib.blake2b(folded.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
