"""What is written: strings drawn from a mixture of tables and makers, within one split and one charset."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError
from pipeline.memory import release_memory
from pipeline.synthesis import lexemes
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.split import Split, split_of

_LENGTHS = (0, 2.0, 5.5, 10, 14, 15, 14, 11.5, 8.5, 6, 4.3, 3, 2.1, 1.4, 0.95, 0.65)
"""How often a table's word has 0, 1, 2, … characters, before normalising; then each time 0.7 as often. Scene
text's mode is 4 to 6, and short words are what recognisers trained on dictionaries lack."""
_TAIL = 0.7
_COMMON = 50
"""Words of a length from which on it is drawn as often as it should be; a single long word isn't."""
_PROBES = 1024
"""Strings of a kind that are looked at, to see whether it can give any."""
_LEAST = 1 / 512
"""Share of usable strings below which a kind isn't worth its draws."""


@dataclass(frozen=True, kw_only=True, slots=True)
class WordsConfig:
    """The mixture: shares of the kinds of strings. What a charset or an asset folder can't give is left out,
    and the others take its place in proportion.

    Raises:
        ConfigError: A share is negative, or all are 0.
    """

    characters: str | None = None
    """Strings hold these alone; all of the assets' where not given."""
    longest: int = 25
    """Most characters of a string."""
    frequent: float = 0.38
    """Words by how often people write them."""
    dictionary: float = 0.20
    """Words of a dictionary, all alike."""
    names: float = 0.09
    """Proper names."""
    own: float = 1.0
    """The user's list as it stands, where the assets hold one: as often as everything else together."""
    numbers: float = 0.08
    """42, 1998, 12,500, 50%."""
    prices: float = 0.02
    """$5, £12.99."""
    dates_and_times: float = 0.02
    """12/05/2019, 9:30, 7pm."""
    phones: float = 0.015
    """555-1234."""
    codes: float = 0.03
    """B12, KX-4402."""
    addresses: float = 0.015
    """www.example.com, info@example.org."""
    cut: float = 0.05
    """Words whose beginning or end is lost."""
    punctuated: float = 0.06
    """Words with punctuation before, behind, around or between them."""
    random_letters: float = 0.03
    """Letters and digits by chance."""
    random_characters: float = 0.01
    """Any characters by chance, so that each is reached."""
    upper: float = 0.46
    """Of words that aren't the user's: in capitals."""
    capitalised: float = 0.26
    """Of words: with a capital first."""
    mixed: float = 0.02
    """Of words: each letter as it comes. The rest is in small letters, but Paris and NATO stay as listed."""

    def __post_init__(self) -> None:
        shares = [getattr(self, kind) for kind in KINDS]
        if min(shares) < 0 or not sum(shares) > 0:
            raise ConfigError("The shares of the kinds of words are 0 or more, and not all 0.")
        cases = (self.upper, self.capitalised, self.mixed)
        if min(cases) < 0 or sum(cases) > 1:
            raise ConfigError(f"upper, capitalised and mixed are shares of at most 1 in all; {cases} aren't.")
        if not 1 <= self.longest <= 64:
            raise ConfigError(f"longest is 1 to 64 characters; {self.longest} isn't.")


_TABLES = ("frequent", "dictionary", "names", "own")
KINDS = (
    *_TABLES,
    *lexemes.MAKERS,
    *("addresses", "cut", "punctuated", "random_letters", "random_characters"),
)
_CASED = ("frequent", "dictionary", "names", "cut", "punctuated", "random_letters")
"""Kinds whose case is drawn."""
_LISTED = ("dictionary", "names")
"""Those of them that hold words with capitals of their own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Table:
    words: pa.ChunkedArray
    cumulative: npt.NDArray[np.float64]


class Words:
    """An endless source of strings for one split.

    Every string has `split_of(string) == split`, so that no string of one split is ever one of the other.

    Args:
        assets: Hold the tables, and limit the characters.
        config: The mixture.
        split: Whose strings.

    Raises:
        ConfigError: The config's characters aren't all in the assets (they are named), or nothing at all can
            be written with them.
    """

    def __init__(self, assets: Assets, config: WordsConfig, split: Split) -> None:
        self._config, self._split = config, split
        self.characters = config.characters or assets.characters
        assets.indices(self.characters)
        self._letters = [c for c in self.characters if c.isalnum()]
        allowed = "".join(re.escape(c) for c in self.characters)
        self._allowed = re.compile(f"[{allowed}]{{1,{config.longest}}}").fullmatch
        self.filtered: dict[str, dict[str, int]] = {}
        """Of each table: words of the split that were read, kept, and left out for characters or length."""
        self._tables = self._read_tables(assets)
        release_memory()  # that the choosing took: several times what was chosen
        self._base = "frequent" if "frequent" in self._tables else next(iter(self._tables), None)
        self.shares: Mapping[str, float] = self._feasible()
        """Share of each kind that can be given, summing to 1."""
        self._kinds = list(self.shares)
        self._cumulative = np.cumsum(list(self.shares.values()))

    def sample(self, generator: np.random.Generator, n: int) -> list[str]:
        """The next n strings: a function of the generator's state alone."""
        kinds = np.searchsorted(self._cumulative, generator.random(n), side="right")
        kinds = np.minimum(kinds, len(self._kinds) - 1)
        texts = [""] * n
        for k, kind in enumerate(self._kinds):
            places = np.flatnonzero(kinds == k).tolist()
            while places:
                made = self._make(kind, generator, len(places))
                left = []
                for place, text in zip(places, made, strict=True):
                    if self._fits(text):
                        texts[place] = text
                    else:
                        left.append(place)
                places = left
        return texts

    def _fits(self, text: str) -> bool:
        return self._allowed(text) is not None and split_of(text) == self._split

    def _make(self, kind: str, generator: np.random.Generator, n: int) -> list[str]:
        if kind in self._tables:
            made = self._draw(kind, generator, n)
        elif kind in lexemes.MAKERS:
            made = lexemes.MAKERS[kind](generator, n)
        elif kind == "random_letters":
            made = lexemes.chance(generator, n, self._letters, 8)
        elif kind == "random_characters":
            made = lexemes.chance(generator, n, self.characters, 10)
        else:
            assert self._base is not None
            maker: Callable[[np.random.Generator, list[str]], list[str]] = getattr(lexemes, kind)
            made = maker(generator, self._draw(self._base, generator, 2 * n if kind == "addresses" else n))
        return self._in_cases(generator, made, keep=kind in _LISTED) if kind in _CASED else made

    def _draw(self, table: str, generator: np.random.Generator, n: int) -> list[str]:
        found = self._tables[table]
        places = np.searchsorted(found.cumulative, generator.random(n), side="right")
        words: list[str] = found.words.take(np.minimum(places, len(found.cumulative) - 1)).to_pylist()
        return words

    def _in_cases(self, generator: np.random.Generator, words: list[str], *, keep: bool) -> list[str]:
        """Each word in a case that is drawn; small letters, or the word as it is where `keep` says so and the
        characters allow it."""
        config = self._config
        draws = generator.random(len(words)).tolist()
        upper, capitalised = config.upper, config.upper + config.capitalised
        cased = []
        for word, draw in zip(words, draws, strict=True):
            if draw < upper:
                cased.append(word.upper())
            elif draw < capitalised:
                cased.append(word[:1].upper() + word[1:])
            elif draw < capitalised + config.mixed:
                flips = int(draw * 2**40)
                cased.append("".join(c.upper() if flips >> i & 1 else c.lower() for i, c in enumerate(word)))
            else:
                cased.append(word if keep and self._allowed(word) else word.lower())
        return cased

    def _read_tables(self, assets: Assets) -> dict[str, _Table]:
        own_split = assets.words.filter(pc.equal(assets.words["split"], self._split))
        tables = {}
        for name in _TABLES:
            rows = own_split.filter(pc.equal(own_split["table"], name))
            words = rows["word"]
            if not len(words):
                continue
            fits = self._drawable(
                words, all_characters=self.characters == assets.characters, as_listed=name == "own"
            )
            kept = rows.filter(fits)
            self.filtered[name] = {"read": len(words), "kept": len(kept), "filtered": len(words) - len(kept)}
            if len(kept):
                weights = kept["weight"].to_numpy()
                if name != "own":
                    weights = _re_weighted(weights, kept["word"])
                cumulative = np.cumsum(weights)
                tables[name] = _Table(
                    words=kept["word"].combine_chunks(), cumulative=cumulative / cumulative[-1]
                )
        return tables

    def _drawable(self, words: pa.ChunkedArray, *, all_characters: bool, as_listed: bool) -> pa.ChunkedArray:
        """Which words can be written as they are listed, or in one case at least."""
        if all_characters:
            return pc.less_equal(pc.utf8_length(words), self._config.longest)
        characters = re.escape(self.characters)
        pattern = f"^[{characters}]{{1,{self._config.longest}}}$"
        fits = pc.match_substring_regex(words, pattern)
        if as_listed or pc.all(fits).as_py():
            return fits
        for form in (pc.utf8_upper(words), pc.utf8_lower(words)):
            fits = pc.or_(fits, pc.match_substring_regex(form, pattern))
        return fits

    def _feasible(self) -> dict[str, float]:
        shares = {}
        for kind in KINDS:
            share = getattr(self._config, kind)
            if not share or (kind in _TABLES and kind not in self._tables):
                continue
            if (kind in ("addresses", "cut", "punctuated") and not self._base) or (
                kind == "random_letters" and not self._letters
            ):
                continue
            probe = np.random.Generator(np.random.Philox(key=KINDS.index(kind)))
            usable = sum(map(self._fits, self._make(kind, probe, _PROBES)))
            if usable >= _PROBES * _LEAST:
                shares[kind] = share
        total = math.fsum(shares.values())
        if not total:
            raise ConfigError(
                f"Nothing of the {self._split} words can be written with {self.characters!r}. Ask for more "
                "characters, or give a list of your own words (jobs/assets.py --words)."
            )
        return {kind: share / total for kind, share in shares.items()}


def _re_weighted(weights: npt.NDArray[np.float64], words: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    """The weights, changed by length where words have cases.

    Syllables and ideographs make words of one to four characters by nature, which would give way to the Latin
    words among them.
    """
    cased = pc.not_equal(pc.utf8_upper(words), pc.utf8_lower(words)).to_numpy()
    lengths = pc.utf8_length(words).to_numpy()
    if cased.all():
        return _by_length(weights, lengths)
    changed = weights.copy()
    if cased.any():
        some = _by_length(weights[cased], lengths[cased])
        changed[cased] = some * (weights[cased].sum() / some.sum())
    return changed


def _by_length(weights: npt.NDArray[np.float64], lengths: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
    """The weights, so changed that lengths are drawn as they should be; words of a length keep ratios."""
    longest = int(lengths.max())
    wanted = np.array([*_LENGTHS, *(_LENGTHS[-1] * _TAIL**i for i in range(1, longest + 1))])[: longest + 1]
    found = np.bincount(lengths, weights, minlength=longest + 1)
    wanted *= np.minimum(np.bincount(lengths, minlength=longest + 1) / _COMMON, 1)
    factor = np.divide(wanted, found, out=np.zeros_like(found), where=found > 0)
    changed: npt.NDArray[np.float64] = weights * factor[lengths]
    return changed
