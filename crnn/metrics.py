"""How right texts are: counts that add up over words, shards and processes, and named ways to compare."""

import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """Sums over words; `a + b` are the sums over both, in any order and from any process."""

    words: int = 0
    correct: int = 0
    """Words read without an error."""
    characters: int = 0
    """Of the truths."""
    edits: int = 0
    """Insertions, deletions and substitutions between truths and predictions."""
    ned_sum: float = 0.0
    """Sum of edits / length of the longer of truth and prediction, word by word."""

    @classmethod
    def of(cls, text: str, prediction: str) -> "Counts":
        """Counts of one word; both texts in the form in which they are to be compared."""
        if text == prediction:
            return cls(words=1, correct=1, characters=len(text))
        edits = edit_distance(text, prediction)
        return cls(
            words=1, characters=len(text), edits=edits, ned_sum=edits / max(len(text), len(prediction))
        )

    @classmethod
    def over(cls, pairs: Iterable[tuple[str, str]]) -> "Counts":
        """Counts of many (text, prediction)."""
        return sum((cls.of(text, prediction) for text, prediction in pairs), cls())

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            words=self.words + other.words,
            correct=self.correct + other.correct,
            characters=self.characters + other.characters,
            edits=self.edits + other.edits,
            ned_sum=self.ned_sum + other.ned_sum,
        )

    @property
    def word_accuracy(self) -> float:
        """Share of words without an error; 0 where there are none."""
        return self.correct / max(self.words, 1)

    @property
    def cer(self) -> float:
        """Character error rate over all words together (micro): edits per character, may exceed 1."""
        return self.edits / max(self.characters, 1)

    @property
    def ned(self) -> float:
        """Normalised edit distance in [0, 1], the mean over words; lower is better."""
        return self.ned_sum / max(self.words, 1)

    @property
    def one_minus_ned(self) -> float:
        """The ICDAR score (2019 ArT, 1-N.E.D.); higher is better, 0 where there are no words."""
        return 1.0 - self.ned if self.words else 0.0


def edit_distance(a: str, b: str) -> int:
    """Levenshtein's distance: fewest insertions, deletions and substitutions from one text to the other.

    Bit-parallel (Myers 1999, in the form of Hyyrö 2003) on Python's integers: linear in the longer text.
    """
    if a == b:
        return 0
    if len(a) > len(b):
        a, b = b, a
    if not a:
        return len(b)
    where: dict[str, int] = {}
    for i, character in enumerate(a):
        where[character] = where.get(character, 0) | 1 << i
    everywhere, last = (1 << len(a)) - 1, 1 << (len(a) - 1)
    # Bits i of `up` and `down`: the cell below row i is one more, or one less, than the cell above it.
    up, down, distance = everywhere, 0, len(a)
    for character in b:
        match = where.get(character, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        more = down | ~(diagonal | up) & everywhere
        less = up & diagonal
        if more & last:
            distance += 1
        elif less & last:
            distance -= 1
        more = more << 1 | 1
        less <<= 1
        up = (less | ~(diagonal | more)) & everywhere
        down = more & diagonal & everywhere
    return distance


def align(text: str, prediction: str) -> list[tuple[str, str]]:
    """Pairs of characters along a shortest way from one text to the other; "" stands for nothing.

    Among equally short ways, the one that substitutes latest.
    """
    rows = [list(range(len(prediction) + 1))]
    for i, wanted in enumerate(text, start=1):
        row = [i]
        for j, read in enumerate(prediction, start=1):
            row.append(min(rows[-1][j] + 1, row[-1] + 1, rows[-1][j - 1] + (wanted != read)))
        rows.append(row)
    pairs: list[tuple[str, str]] = []
    i, j = len(text), len(prediction)
    while i or j:
        if i and j and rows[i][j] == rows[i - 1][j - 1] + (text[i - 1] != prediction[j - 1]):
            i, j = i - 1, j - 1
            pairs.append((text[i], prediction[j]))
        elif i and rows[i][j] == rows[i - 1][j] + 1:
            i -= 1
            pairs.append((text[i], ""))
        else:
            j -= 1
            pairs.append(("", prediction[j]))
    return pairs[::-1]


@dataclass(frozen=True, kw_only=True, slots=True)
class Protocol:
    """What counts as the same text."""

    name: str
    says: str
    """What it does, for the report."""
    characters: str | None = None
    """All other characters are dropped from truth and prediction; None keeps everything."""
    fold_case: bool = False

    def normalize(self, text: str) -> str:
        """The form in which truths, predictions and lexicon entries are compared."""
        if self.characters is None:
            return unicodedata.normalize("NFC", text)
        return "".join(c for c in self._composed(text) if c in self.characters)

    def loses_letters(self, text: str) -> bool:
        """Whether letters or digits are dropped from a text, which then may be another word: café, caf."""
        if self.characters is None:
            return False
        return any(c.isalnum() and c not in self.characters for c in self._composed(text))

    def _composed(self, text: str) -> str:
        text = unicodedata.normalize("NFKC", text)
        return unicodedata.normalize("NFKC", text.lower()) if self.fold_case else text


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            name="alnum36",
            says="digits and letters, case ignored, all else dropped from truth and prediction",
            characters=string.digits + string.ascii_lowercase,
            fold_case=True,
        ),
        Protocol(
            name="alnum62",
            says="digits and letters, case counts, all else dropped from truth and prediction",
            characters=string.digits + string.ascii_letters,
        ),
        Protocol(
            name="latin94",
            says="printable ASCII, case counts, spaces and all else dropped from truth and prediction",
            characters=string.digits + string.ascii_letters + string.punctuation,
        ),
        Protocol(name="as_is", says="the whole text as it stands, but for Unicode's composed form"),
    )
}
"""The ways to compare that reports name. alnum36 is the field's (Shi et al. 2015; Baek et al. 2019)."""
