"""Strings that no list holds: numbers, prices, dates, times, phones, codes, addresses, chance.

Each maker draws n strings at once from a generator; whatever characters they hold, `words.Words` keeps what
may be drawn.
"""

import string
from collections.abc import Callable, Sequence

import numpy as np

Maker = Callable[[np.random.Generator, int], list[str]]

_UNITS = (
    *("%", "th", "st", "nd", "rd", "km", "m", "cm", "mm", "kg", "g", "ml", "oz", "ft", "in", "pm", "am"),
    *("/7", "x", "+", "°", "p", "c", "k", "V", "W", "°C", "GB", "hp"),
)
_CURRENCIES = ("$", "$", "$", "£", "€", "¥", "US$", "")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ENDINGS = (".com", ".com", ".com", ".org", ".net", ".co.uk", ".de", ".fr", ".edu", ".gov", ".info", ".io")
_MARKS: tuple[str, ...] = (*"!!!!..,?:;-&%)*/\"'™®", "'s", "...")
"""Behind words; signs exclaim more often than pages do."""
_OPENINGS = ("(", '"', "'", "#", "@", "&", "-", "*", "~", "+", "[", "<", "$", "_", "{", "=", "\\", "^", "|")


def numbers(generator: np.random.Generator, count: int) -> list[str]:
    """7, 42, 1998, 12,500, 3.14, 1/2, 50%, 3rd: short ones most."""
    digits = generator.choice(6, count, p=(0.16, 0.27, 0.25, 0.2, 0.08, 0.04))
    low, high = 10**digits, 10 ** (digits + 1)
    values = np.where(digits == 0, generator.integers(0, 10, count), generator.integers(low, high)).tolist()
    forms = generator.random(count).tolist()
    extra = generator.integers(0, 1000, (count, 2)).tolist()
    return [_number(*row) for row in zip(values, forms, extra, strict=True)]


def _number(value: int, form: float, extra: Sequence[int]) -> str:
    if form < 0.5:
        return str(value)
    if form < 0.6:
        return str(1900 + (value + extra[0]) % 131)
    if form < 0.68:
        return f"{value:,}"
    if form < 0.76:
        return f"{value}.{extra[0] % 100:02d}" if extra[1] % 2 else f"{value}.{extra[0] % 10}"
    if form < 0.92:
        return f"{value}{_UNITS[extra[0] % len(_UNITS)]}"
    if form < 0.95:
        return f"{value % 100}/{extra[0] % 100}"
    if form < 0.98:
        return f"#{value}"
    return f"{value % 100}-{extra[0] % 100}"


def prices(generator: np.random.Generator, count: int) -> list[str]:
    """$5, £12.99, 2,50€, 99¢."""
    whole = (10 ** generator.uniform(0, 3.5, count)).astype(int).tolist()
    picks = generator.integers(0, 1000, (count, 3)).tolist()
    return [_price(value, *pick) for value, pick in zip(whole, picks, strict=True)]


def _price(value: int, currency: int, cents: int, form: int) -> str:
    sign = _CURRENCIES[currency % len(_CURRENCIES)]
    part = (99, 95, 50, 0, 49)[cents % 5] if cents < 600 else cents % 100
    if form < 350:
        return f"{sign}{value}"
    if form < 800:
        return f"{sign}{value}.{part:02d}"
    return f"{value},{part:02d}{sign or '€'}" if form < 950 else f"{value % 100}¢"


def dates_and_times(generator: np.random.Generator, count: int) -> list[str]:
    """12/05/2019, 2024-02-29, 5.3.21, Mar-07, 9:30, 21:45, 7:00pm, 10am-6pm."""
    picks = generator.integers(0, 1 << 20, (count, 5)).tolist()
    return [_moment(*pick) for pick in picks]


def _moment(form: int, a: int, b: int, c: int, d: int) -> str:
    day, month, year = 1 + a % 28, 1 + b % 12, 1950 + c % 90
    hour, minute = a % 24, (0, 15, 30, 45, d % 60)[c % 5]
    half = ("am", "pm", "AM", "PM")[d % 4]
    return (
        lambda: f"{day:02d}/{month:02d}/{year}",
        lambda: f"{year}-{month:02d}-{day:02d}",
        lambda: f"{day}.{month}.{year % 100:02d}",
        lambda: f"{month}/{day}",
        lambda: f"{_MONTHS[month - 1]}-{day:02d}",
        lambda: f"{hour}:{minute:02d}",
        lambda: f"{hour:02d}:{minute:02d}",
        lambda: f"{1 + hour % 12}:{minute:02d}{half}",
        lambda: f"{1 + hour % 12}{half}",
        lambda: f"{1 + hour % 12}{half}-{1 + month % 12}{half}",
    )[form % 10]()


def phones(generator: np.random.Generator, count: int) -> list[str]:
    """555-1234, 020-7946-0958, (212)555-0173, +44, 1-800-FLOWERS without the flowers."""
    picks = generator.integers(0, 10**4, (count, 5)).tolist()
    return [_phone(*pick) for pick in picks]


def _phone(form: int, a: int, b: int, c: int, d: int) -> str:
    return (
        f"{a % 1000:03d}-{b:04d}",
        f"{a % 1000:03d}-{c % 1000:03d}-{b:04d}",
        f"({a % 1000:03d}){c % 1000:03d}-{b:04d}",
        f"0{a % 1000:03d}{b:04d}",
        f"+{1 + d % 99}",
        f"{a % 1000:03d}.{c % 1000:03d}.{b:04d}",
        f"1-800-{c % 1000:03d}-{b:04d}",
        f"{b:04d}",
    )[form % 8]


def codes(generator: np.random.Generator, count: int) -> list[str]:
    """B12, KX-4402, A40, N1 9GU's halves, number plates."""
    letters = generator.choice(list(string.ascii_uppercase), (count, 4)).tolist()
    picks = generator.integers(0, 10**5, (count, 3)).tolist()
    return [_code("".join(four), *pick) for four, pick in zip(letters, picks, strict=True)]


def _code(letters: str, form: int, a: int, b: int) -> str:
    number = str(a)[: 1 + b % 4]
    return (
        letters[: 1 + b % 3] + number,
        letters[: 1 + b % 3] + "-" + number,
        number + letters[: 1 + b % 2],
        letters[:2] + str(a)[:2] + letters[1:4],
        letters[:3] + str(a)[:3],
        number + "-" + letters[:2],
    )[form % 6]


def addresses(generator: np.random.Generator, words: Sequence[str]) -> list[str]:
    """E-mail- and URL-like strings of pairs of words: www.example.com, info@example.org, example.com/shop."""
    pairs = list(zip(words[::2], words[1::2], strict=False))
    picks = generator.integers(0, 1 << 20, (len(pairs), 3)).tolist()
    return [_address(a.lower(), b.lower(), *pick) for (a, b), pick in zip(pairs, picks, strict=True)]


def _address(first: str, second: str, form: int, ending: int, digit: int) -> str:
    place = first + _ENDINGS[ending % len(_ENDINGS)]
    return (
        f"www.{place}",
        place,
        f"{second}@{place}",
        f"{('info', 'sales', 'mail', 'contact')[digit % 4]}@{place}",
        f"http://{place}",
        f"@{first}{second}",
        f"{place}/{second}",
        f"@{first}_{second}{digit % 100}",
        f"#{first}{second}",
        f"{first}.{second}{digit % 10}@{place}",
    )[form % 10]


def cut(generator: np.random.Generator, words: Sequence[str]) -> list[str]:
    """Words with some of their beginning or end lost, as at the edge of a crop."""
    picks = generator.integers(0, 1 << 20, (len(words), 2)).tolist()
    return [_cut(word, *pick) for word, pick in zip(words, picks, strict=True)]


def _cut(word: str, form: int, amount: int) -> str:
    lost = 1 + amount % max(1, len(word) // 2)
    if form % 3 == 0:
        return word[lost:]
    return word[:-lost] if form % 3 == 1 else word[lost:-1]


def punctuated(generator: np.random.Generator, words: Sequence[str]) -> list[str]:
    """Words with what stands before, behind, around or between them."""
    picks = generator.integers(0, 1 << 20, (len(words), 3)).tolist()
    others = [*words[1:], *words[:1]]
    return [_punctuated(*row) for row in zip(words, others, picks, strict=True)]


def _punctuated(word: str, other: str, picks: Sequence[int]) -> str:
    form, mark, opening = picks
    behind = _MARKS[mark % len(_MARKS)]
    before = _OPENINGS[opening % len(_OPENINGS)]
    if form % 10 < 6:
        return word + behind
    if form % 10 < 8:
        return before + word
    if form % 10 == 8:
        around = (("(", ")"), ('"', '"'), ("'", "'"), ("[", "]"), ("*", "*"), ("<", ">"), ("{", "}"))
        return word.join(around[opening % len(around)])
    return f"{word}{('-', '/', '&', '+', '_', '.')[mark % 6]}{other}"


def chance(generator: np.random.Generator, count: int, characters: Sequence[str], longest: int) -> list[str]:
    """Characters side by side by chance, short ones most often."""
    lengths = 1 + np.minimum(generator.integers(0, longest, count), generator.integers(0, longest, count))
    drawn = generator.integers(0, len(characters), (count, longest)).tolist()
    return ["".join([characters[i] for i in row[:n]]) for row, n in zip(drawn, lengths.tolist(), strict=True)]


MAKERS: dict[str, Maker] = {
    "numbers": numbers,
    "prices": prices,
    "dates_and_times": dates_and_times,
    "phones": phones,
    "codes": codes,
}
"""Those that need nothing but chance."""
