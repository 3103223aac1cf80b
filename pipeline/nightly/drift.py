"""How much a night's texts differ from others: the population stability index."""

import math
from collections.abc import Mapping

WARN, ALARM = 0.1, 0.25
"""From here on a difference is worth a look, and a reason not to trust the texts."""


def psi(before: Mapping[str, int], now: Mapping[str, int]) -> float:
    """Σ (p − q) · ln(p / q) over the shares p and q of each kind, before and now.

    Half an occurrence is added to each kind on both sides, so that a kind which is new counts, yet not
    without end; two samples of one distribution give about (kinds − 1) · (1/before + 1/now).

    Args:
        before: Counts by kind.
        now: Counts by kind.

    Returns:
        0 where the shares are equal, or where one side is empty.
    """
    kinds = before.keys() | now.keys()
    totals = [sum(counts.values()) + len(kinds) / 2 for counts in (before, now)]
    if not sum(before.values()) or not sum(now.values()):
        return 0.0
    shares = [
        ((before.get(kind, 0) + 0.5) / totals[0], (now.get(kind, 0) + 0.5) / totals[1]) for kind in kinds
    ]
    return sum((p - q) * math.log(p / q) for p, q in shares)


def drift(before: Mapping[str, int], now: Mapping[str, int]) -> float | None:
    """The index; None where there are too few of either to tell a difference from chance.

    That is where two samples of one distribution would give more than half of what is worth a look.
    """
    chance = len(before.keys() | now.keys()) - 1
    if not sum(before.values()) or not sum(now.values()):
        return None
    by_chance = chance * (1 / sum(before.values()) + 1 / sum(now.values()))
    return psi(before, now) if by_chance <= WARN / 2 else None


def verdict(value: float) -> str:
    """ok, warn or alarm."""
    return "alarm" if value >= ALARM else "warn" if value >= WARN else "ok"
