"""Which characters a recogniser can write, and the class index of each; index 0 is the CTC blank."""

import hashlib
import json
import string
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Literal

from crnn.errors import CharsetError

BLANK = 0
UnicodeForm = Literal["NFC", "NFKC"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Charset:
    """An ordered set of characters: character i of `characters` is class i + 1.

    Raises:
        CharsetError: Duplicates, an empty set, or characters that the normalisation below would change,
            so that no label could ever hold them.
    """

    characters: str
    """The characters in class order, each one code point."""
    fold_case: bool = False
    """Read and write lower case only: labels are lower-cased before they are encoded."""
    unicode_form: UnicodeForm = "NFC"
    """Normal form of every label: NFC joins accents to letters, NFKC also unifies look-alike variants."""
    drop_others: bool = False
    """Labels lose the characters that have no class, instead of being refused with them."""
    _index: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.characters:
            raise CharsetError("A charset needs at least one character; this one is empty.")
        twice = sorted({c for c in self.characters if self.characters.count(c) > 1})
        if twice:
            raise CharsetError(f"The charset holds {twice} more than once; each character is one class.")
        object.__setattr__(self, "_index", {c: i for i, c in enumerate(self.characters, start=1)})
        changed = [c for c in self.characters if self.normalize(c) != c]
        if changed:
            policy = f"fold_case={self.fold_case}, unicode_form={self.unicode_form}"
            raise CharsetError(
                f"Labels are normalised ({policy}) before they are encoded, which changes {changed}: "
                "these classes could never be reached. Remove them or change the policy."
            )

    @property
    def num_classes(self) -> int:
        """Classes of the network's output: the characters and the blank."""
        return len(self.characters) + 1

    @property
    def fingerprint(self) -> str:
        """16 hex digits that change with any character, their order, or the policy."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    def normalize(self, text: str) -> str:
        """The one form in which labels are encoded, compared and written."""
        text = self._formed(text)
        while self.drop_others:
            left = "".join(filter(self._index.__contains__, text))
            text = self._formed(left)  # what comes together can be joined, or end a word
            if text == left:
                break
        return text

    def unsupported(self, text: str) -> str:
        """The characters for which a label is refused: the others, none where the charset drops them."""
        return "" if self.drop_others else self.others(text)

    def others(self, text: str) -> str:
        """The distinct characters of the text in its form that have no class, in order of appearance."""
        return "".join(dict.fromkeys(c for c in self._formed(text) if c not in self._index))

    def foreign(self, text: str) -> str:
        """Those of them without which it is another word: all, or where they are dropped letters and digits
        alone, since "don't" can be "dont", but "café" isn't "caf"."""
        return "".join(c for c in self.others(text) if not self.drop_others or c.isalnum())

    def encode(self, text: str) -> list[int]:
        """Class indices of the normalised text, each ≥ 1.

        Raises:
            CharsetError: The text holds characters outside the charset; all of them are named.
        """
        try:
            return [self._index[c] for c in self.normalize(text)]
        except KeyError:
            raise CharsetError(
                f"{text!r} holds {list(self.unsupported(text))}, outside this charset of "
                f"{len(self.characters)} characters."
            ) from None

    def classes(self, written: str) -> tuple[int, ...]:
        """The class of each character of a text from `decode`, as it stands: nothing is joined or folded."""
        return tuple(self._index[c] for c in written)

    def decode(self, indices: Iterable[int]) -> str:
        """The text of class indices without blanks or CTC repeats (see `crnn.decode` for those)."""
        return "".join(self.characters[i - 1] for i in indices)

    def _formed(self, text: str) -> str:
        text = unicodedata.normalize(self.unicode_form, text)
        if self.fold_case:  # the form can bring capitals (ℌ), and lower-casing can decompose (İ)
            text = unicodedata.normalize(self.unicode_form, text.lower())
        return text

    def to_dict(self) -> dict[str, str | bool]:
        """JSON form; `Charset(**d)` is its inverse. Only a charset that drops characters says so: those of
        all releases have one fingerprint."""
        values: dict[str, str | bool] = {
            "characters": self.characters,
            "fold_case": self.fold_case,
            "unicode_form": self.unicode_form,
        }
        return values | {"drop_others": True} if self.drop_others else values


ALNUM36 = Charset(characters=string.digits + string.ascii_lowercase, fold_case=True)
"""The field's case-insensitive protocol (Shi et al. 2015, section 3.1)."""

ALNUM36_DROP = replace(ALNUM36, drop_others=True)
"""The same for labels that hold more, which they lose, as in Baek et al. 2019: "DON'T" is read as "dont"."""

LATIN94 = Charset(characters=string.digits + string.ascii_letters + string.punctuation)
"""Printable ASCII without the space, as in Bautista and Atienza 2022."""

CHARSETS = {"alnum36": ALNUM36, "alnum36-drop": ALNUM36_DROP, "latin94": LATIN94}
"""The charsets that recipes name."""
