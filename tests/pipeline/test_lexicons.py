"""Lexicon files, and the form in which protocols ask them."""

from pathlib import Path

import pytest

from crnn.charset import ALNUM36_DROP, LATIN94
from crnn.lexicon import LexiconError
from crnn.metrics import PROTOCOLS
from pipeline.errors import ConfigError
from pipeline.lexicons import asked_charset, asked_lexicon, read_words


def test_a_lexicon_is_a_text_file_of_a_word_a_line(tmp_path: Path) -> None:
    path = tmp_path / "words.txt"
    path.write_bytes("\ufeffone\r\ntwo words\n".encode())
    assert read_words(str(path)) == ("one", "two words")
    path.write_bytes(b"caf\xe9")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_words(str(path))
    with pytest.raises(ConfigError, match="no lexicon"):
        read_words(str(tmp_path / "none"))


def test_entries_that_a_protocol_makes_equal_are_one() -> None:
    words = ["Don't", "DONT", "…", "plain"]
    protocol = PROTOCOLS["alnum36"]
    lexicon, notes = asked_lexicon(words, protocol, asked_charset(protocol, LATIN94))
    assert lexicon.entries == ("dont", "plain")
    assert notes == {"duplicate": 1, "blank": 1}
    with pytest.raises(LexiconError):
        asked_lexicon(["…"], protocol, asked_charset(protocol, LATIN94))


def test_as_it_is_a_lexicon_is_asked_in_the_recognisers_own_charset() -> None:
    protocol = PROTOCOLS["as_is"]
    assert asked_charset(protocol, LATIN94) == LATIN94
    lexicon, notes = asked_lexicon(["Don't", "café"], protocol, LATIN94)
    assert (lexicon.entries, notes) == (("Don't",), {"outside_charset": 1})


def test_a_recogniser_of_a_protocol_s_characters_is_asked_in_its_own_charset_whatever_it_drops() -> None:
    protocol = PROTOCOLS["alnum36"]
    assert asked_charset(protocol, ALNUM36_DROP) is ALNUM36_DROP
    lexicon, _ = asked_lexicon(["Don't", "plain"], protocol, ALNUM36_DROP)
    assert lexicon.entries == ("dont", "plain")
    assert asked_charset(PROTOCOLS["alnum62"], ALNUM36_DROP) != ALNUM36_DROP


def test_entries_that_lose_letters_are_counted_and_those_that_lose_signs_are_not() -> None:
    protocol = PROTOCOLS["alnum36"]
    words = ["café", "naïve", "Füße", "caf", "DON'T", "①²", "\u0439"]
    lexicon, notes = asked_lexicon(words, protocol, asked_charset(protocol, LATIN94))
    assert lexicon.entries == ("caf", "nave", "fe", "dont", "12")
    assert notes == {"altered": 3, "duplicate": 1, "blank": 1}
