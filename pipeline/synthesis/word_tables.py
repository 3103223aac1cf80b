"""The word tables of the assets: from wordfreq, Debian's or the system's dictionaries, and the user's own."""

import gzip
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import pyarrow as pa

from pipeline.errors import ConfigError, ObjectNotFoundError
from pipeline.storage import read_bytes
from pipeline.synthesis.debian import Package
from pipeline.synthesis.split import split_of

log = logging.getLogger(__name__)

LONGEST = 32
"""Characters; longer words than that stand on no sign."""
COMMON = 1e-6
"""Frequency from which a word is as good as one of a dictionary; rarer ones are foreign or mistyped, too."""
SYSTEM_LISTS = ("/usr/share/dict/words",)
SCHEMA = pa.schema(
    [
        pa.field("table", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("split", pa.dictionary(pa.int8(), pa.string()), nullable=False),
        pa.field("word", pa.string(), nullable=False),
        pa.field("weight", pa.float64(), nullable=False),
    ]
)


@dataclass(frozen=True, kw_only=True, slots=True)
class WordTable:
    """Words that can be written with the assets' characters."""

    source: str
    """Where they come from."""
    weights: Mapping[str, float]
    """Of each word: how often it is drawn, compared with the table's others."""
    read: int
    """Entries of the source."""
    rejected: Mapping[str, int]
    """Entries that aren't in the table, by reason."""


def word_tables(
    characters: str, language: str, packages: Sequence[Package], own: str | None
) -> dict[str, WordTable]:
    """Tables by name: frequent, dictionary, names, and own where the user gives a list.

    Args:
        characters: What can be drawn.
        language: As wordfreq names it, such as en or ko.
        packages: Unpacked packages that hold word lists.
        own: URI of the user's list: a word a line, with a tab and its weight where they aren't all equal.

    Raises:
        ConfigError: wordfreq doesn't know the language, or the user's list is empty or holds what isn't a
            weight.
        StorageError: The user's list can't be read.
    """
    frequencies = _frequencies(language)
    # The square root flattens: a tenth of all words would be the, of, and, to, a, in otherwise.
    frequent = ((word, frequency**0.5) for word, frequency in sorted(frequencies.items()))
    # Lists for other languages that are to be had reject ordinary words.
    coarse = _coarse_words() if language == "en" else frozenset()
    tables = {"frequent": _table(f"wordfreq {language}", frequent, characters, coarse)}
    source, listed = _dictionary(packages) if language == "en" else ("", [])
    if not listed:
        common = [word for word, frequency in frequencies.items() if frequency >= COMMON]
        source, listed = f"wordfreq {language}, common words all alike", sorted(common)
    tables["dictionary"] = _table(source, ((word, 1.0) for word in listed), characters, coarse)
    names = [word for word in listed if word[:1].isupper() and word[1:].islower()]
    if names:
        tables["names"] = _table(source, ((word, 1.0) for word in names), characters, coarse)
    if own is not None:
        tables["own"] = _own(own, characters)
    empty = [name for name, table in tables.items() if not table.weights]
    if empty:
        log.warning("No word of %s can be written with these %d characters", empty, len(characters))
    return tables


def words_arrow(tables: Mapping[str, WordTable]) -> bytes:
    """The tables as one Arrow file, to be mapped; each word's split stands beside it."""
    words = [word for table in tables.values() for word in table.weights]
    splits = {word: split_of(word) for word in words}
    columns = (
        [name for name, table in tables.items() for _ in table.weights],
        [splits[word] for word in words],
        words,
        [weight for table in tables.values() for weight in table.weights.values()],
    )
    batch = pa.table(
        [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)], schema=SCHEMA
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, SCHEMA) as writer:
        writer.write_table(batch.combine_chunks())
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _frequencies(language: str) -> dict[str, float]:
    import wordfreq

    known = wordfreq.available_languages("best")
    if language not in known:  # wordfreq itself would take the nearest language instead
        raise ConfigError(f"wordfreq has no words for {language!r}; it has {', '.join(sorted(known))}.")
    best: dict[str, float] = wordfreq.get_frequency_dict(language, wordlist="best")
    return best


def _dictionary(packages: Sequence[Package]) -> tuple[str, list[str]]:
    """Where the words come from, and the words in order, each once."""
    places = [
        (f"{package.name} {package.version}", path)
        for package in packages
        for path in sorted(package.folder.glob("usr/share/dict/*"))
        if path.is_file() and not path.is_symlink()
    ]
    if not places:
        places = [("the system's", Path(name)) for name in SYSTEM_LISTS if Path(name).is_file()]
    words: set[str] = set()
    for _, path in places:
        words.update(path.read_text("utf-8", errors="replace").split())
    return ", ".join(name for name, _ in places), sorted(words)


@cache
def _coarse_words() -> frozenset[str]:
    """Words that nobody wants to see on a sheet of samples, as `_name` gives them."""
    text = (files("pipeline.synthesis") / "data" / "coarse-words.txt").read_text("utf-8")
    return frozenset(line for line in text.splitlines() if not line.startswith("#"))


def _name(word: str) -> str:
    return hashlib.sha256(word.lower().encode()).hexdigest()[:12]


def _table(
    source: str,
    entries: Iterable[tuple[str, float]],
    characters: str,
    coarse: frozenset[str] = frozenset(),
    *,
    own: bool = False,
) -> WordTable:
    """A table of what can be drawn; a word that comes again adds its weight."""
    drawable = re.compile(f"[{re.escape(characters)}]*").fullmatch
    weights: dict[str, float] = {}
    rejected: Counter[str] = Counter()
    read = 0
    for word, weight in entries:
        read += 1
        if not 1 <= len(word) <= LONGEST:
            rejected["length"] += 1
        elif drawable(word) is None:
            rejected["characters"] += 1
        elif not (own or word.isalpha() or any(map(str.isalpha, word))):
            rejected["no letters"] += 1  # numbers are made, in all their forms
        elif not own and word.endswith("'s"):
            rejected["possessives"] += 1  # a third of Debian's lists; words with punctuation are made, too
        elif coarse and _name(word) in coarse:
            rejected["coarse"] += 1
        elif word in weights:
            rejected["twice"] += 1
            weights[word] += weight
        else:
            weights[word] = weight
    return WordTable(source=source, weights=weights, read=read, rejected=dict(sorted(rejected.items())))


def _own(uri: str, characters: str) -> WordTable:
    try:
        data = read_bytes(uri)
    except ObjectNotFoundError as error:
        raise ConfigError(f"There is no word list at {uri}. Check --words.") from error
    try:
        text = gzip.decompress(data).decode("utf-8-sig") if uri.endswith(".gz") else data.decode("utf-8-sig")
    except (UnicodeDecodeError, OSError, EOFError) as error:
        raise ConfigError(f"{uri} isn't a UTF-8 text ({error}). Convert it.") from error
    entries: list[tuple[str, float]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        word, tab, weight = line.rstrip("\r").partition("\t")
        if not line.strip():
            continue
        try:
            value = float(weight) if tab else 1.0
        except ValueError:
            value = -1.0
        if not 0 < value < float("inf"):
            raise ConfigError(
                f"{uri}:{number}: {weight!r} is no weight. A line is a word, or a word, a tab and a number "
                "above 0."
            )
        entries.append((word.strip(), value))
    table = _table("the user's list", entries, characters, own=True)
    if not table.weights:
        told = f"has {len(entries)} words, none of them drawable: {table.rejected}" if entries else "is empty"
        raise ConfigError(f"The word list {uri} {told}. Give a list with a word a line.")
    return table
