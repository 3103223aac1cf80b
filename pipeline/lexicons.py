"""The lexicons of an evaluation: text files and the images' own, asked in the form of a protocol."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import lru_cache

from crnn.charset import Charset
from crnn.lexicon import Lexicon
from crnn.metrics import Protocol
from pipeline.errors import ConfigError, ObjectNotFoundError
from pipeline.storage import read_bytes

LARGE_LEXICON = 2_000
"""Entries from which on a lexicon is searched as in the paper: among those near the best path."""
PAPERS_DISTANCE = 3
ALTERED = "altered"
"""Entries that lose letters under the protocol: asked without them, as truths are compared without them."""
UNUSABLE = "image_without_usable_entry"
"""Images of whose own lexicon no entry can be asked."""


def read_words(uri: str) -> tuple[str, ...]:
    """A lexicon: a text file in UTF-8 of a word a line.

    Raises:
        ConfigError: There is none, or it is in another encoding.
    """
    try:
        return tuple(read_bytes(uri).decode("utf-8-sig").splitlines())
    except ObjectNotFoundError as error:
        raise ConfigError(f"There is no lexicon {uri}; give a text file of a word a line.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"The lexicon {uri} isn't UTF-8 ({error}); convert it.") from error


def asked_charset(protocol: Protocol, own: Charset) -> Charset:
    """The charset in which lexicons are asked: the protocol's, else the recogniser's own."""
    if protocol.characters is None:
        return own
    asked = Charset(characters=protocol.characters, fold_case=protocol.fold_case)
    # Entries in the protocol's form hold nothing to drop.
    return own if replace(own, drop_others=False) == asked else asked


def asked_lexicon(
    words: Iterable[str], protocol: Protocol, charset: Charset
) -> tuple[Lexicon, Mapping[str, int]]:
    """A lexicon in a protocol's form, and how many of its entries were left out or altered, by reason.

    Raises:
        LexiconError: Not one of the words can be asked.
    """
    asked = [_asked(word, protocol) for word in words]
    lexicon = Lexicon((text for text, _ in asked), charset)
    altered = sum(lost for _, lost in asked)
    return lexicon, {**lexicon.dropped, ALTERED: altered} if altered else lexicon.dropped


@lru_cache(maxsize=1 << 18)
def _asked(word: str, protocol: Protocol) -> tuple[str, bool]:
    """The word as it is asked, and whether it lost letters; the images of a set share most of their words."""
    text = protocol.normalize(word)
    return text, bool(text) and protocol.loses_letters(word)
