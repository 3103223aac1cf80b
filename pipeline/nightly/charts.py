"""Small charts of the morning page, as SVG that needs nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil

WIDTH, HEIGHT, BASE = 360, 110, 120
"""Of the bars' area, and where they stand, in the chart's own units."""
_LETTER = 7.0
"""What a letter of a label takes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """A kind and how much of it there is."""

    kind: str
    value: float
    told: str
    """For a pointer that rests on it."""
    marks: tuple[float | None, ...] = ()
    """What else it is compared with, in the unit of the value; each by a line of its own."""


def bar_chart(name: str, bars: Sequence[Bar]) -> str:
    """Bars side by side, with lines where they were otherwise."""
    most = max((value for bar in bars for value in (bar.value, *bar.marks) if value is not None), default=0)
    width = min(36.0, WIDTH / max(1, len(bars)))
    longest = max((len(bar.kind) for bar in bars), default=0)
    every = max(1, ceil((longest + 1) * _LETTER / width)) if longest > 1 else 1
    margin = max(2.0, longest * _LETTER / 2 - width / 2)  # half of the first label
    parts = []
    for place, bar in enumerate(bars):
        left, height = place * width + 0.5, HEIGHT * bar.value / (most or 1)
        parts.append(
            f'<rect x="{left:.1f}" y="{BASE - height:.1f}" width="{max(1, width - 1):.1f}" '
            f'height="{height:.1f}"><title>{escape(bar.told)}</title></rect>'
        )
        for number, value in enumerate(bar.marks):
            if value is not None:
                y = BASE - HEIGHT * value / (most or 1)
                parts.append(
                    f'<path class="mark{number}" d="M{left:.1f} {y:.1f}h{max(1, width - 1):.1f}"></path>'
                )
        if place % every == 0:
            middle = (place + 0.5) * width
            parts.append(f'<text x="{middle:.1f}" y="135">{escape(bar.kind)}</text>')
    area = f"{-margin:.0f} 0 {WIDTH + 2 * margin:.0f} 142"
    return f'<svg viewBox="{area}" role="img" aria-label="{escape(name)}">{"".join(parts)}</svg>'


def kinds_of(name: str, counts: Mapping[str, int]) -> list[str]:
    """Which kinds of a histogram to show, in which order: a scale without gaps, or the most frequent ones."""
    if name == "confidence":
        return [f"{step / 20:.2f}" for step in range(20)]
    if name == "length":
        longest = max((kind for kind, count in counts.items() if count), default="00")
        last = 21 if longest == "21+" else int(longest)
        return [f"{length:02d}" for length in range(min(last, 20) + 1)] + ["21+"] * (last == 21)
    return sorted(counts, key=lambda kind: (-counts[kind], kind))[:40]
