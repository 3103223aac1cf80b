"""The morning page: one HTML file that needs no network, for laptops and phones, by day and by night."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from pipeline.nightly.canaries import cer, confidence
from pipeline.nightly.drift import ALARM, WARN, verdict
from pipeline.nightly.morning import NIGHTS, Example, Morning

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5d6b7a; --line: #d9dfe6; --back: #f6f8fa;
  --card: #fff; --bar: #3b74b8; --ok: #1d7a46; --warn: #9a6200; --alarm: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --soft: #9aa7b5; --line: #323c47;
  --back: #12171d; --card: #1a2129; --bar: #6ea3e0; --ok: #5fc58b; --warn: #e0a94a; --alarm: #f0857c; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1.25rem; background: var(--back); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .6rem; }
p.soft, .soft { color: var(--soft); margin: .2rem 0; overflow-wrap: anywhere; }
.cards, .charts, .sheet { display: grid; gap: .6rem; }
.cards { grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); margin-top: 1rem; }
.card { padding: .6rem .8rem; }
.card b { display: block; font-size: 1.3rem; font-variant-numeric: tabular-nums; }
.charts { grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.ok { color: var(--ok); } .warn { color: var(--warn); } .alarm { color: var(--alarm); }
.sheet { grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); }
figure { margin: 0; padding: .5rem; }
figure, .card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
figure .frame { height: 64px; display: flex; align-items: center; justify-content: center; }
figure img { max-width: 100%; max-height: 64px; }
figcaption { overflow-wrap: anywhere; font-size: .85rem; } figcaption b { font-size: .95rem; }
svg { width: 100%; height: auto; display: block; }
svg rect { fill: var(--bar); } svg text { fill: var(--soft); }
"""


def page(morning: Morning) -> str:
    """The whole page."""
    figures = morning.figures
    title = f"Transcription {figures.run}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">model {escape(figures.model)}</p>',
        _cards(morning),
        "<h2>What became of the objects</h2>",
        _table(("status", "reason", "rows"), sorted(figures.outcomes)),
        "<h2>Texts</h2>",
        '<div class="charts">',
        *(_chart(name, counts, morning.drift.get(name)) for name, counts in morning.histograms.items()),
        "</div>",
        _drift_note(morning),
        "<h2>Folders</h2>",
        _table(
            ("folder", "rows", "quarantined", "mean confidence", "drift"),
            [
                (p.name, p.rows, p.quarantined, _short(p.mean_confidence), _drift(p.drift))
                for p in morning.prefixes
            ],
        ),
        "<h2>Least confident</h2>",
        _sheet(morning.least_confident),
        "<h2>A uniform sample, to judge the night by</h2>",
        _sheet(morning.sample),
    ]
    if morning.disagreements:
        parts += ["<h2>Where the shadow model reads otherwise</h2>", _sheet(morning.disagreements)]
    if morning.quarantined:
        parts.append("<h2>Quarantined, a few of each reason</h2>")
        rows = [
            (reason, each.key, each.detail or "")
            for reason, found in morning.quarantined.items()
            for each in found
        ]
        parts.append(_table(("reason", "object", "detail"), rows))
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n{body}\n</body></html>\n'


def _cards(morning: Morning) -> str:
    figures = morning.figures
    total = sum(rows for *_, rows in figures.outcomes)
    quarantined = sum(rows for status, _, rows in figures.outcomes if status == "quarantined")
    worst = max(morning.drift.values(), default=None)
    cards = [
        ("rows published", f"{total:,}", ""),
        ("objects listed", f"{figures.facts.seen:,}", ""),
        ("gone since", f"{figures.facts.gone:,}", ""),
        ("quarantined", f"{quarantined / max(1, total):.1%}", ""),
        ("images/s", _short(figures.steady_images_per_second or figures.images_per_second), ""),
        ("limited by", figures.limit or "–", ""),
        ("cost per million", _short(figures.cost_per_million), ""),
        ("canaries' CER", _short(cer(figures.measured)), ""),
        ("canaries' confidence", _short(confidence(figures.measured)), ""),
        ("shadow agrees", f"{morning.agreement:.1%}" if morning.agreement is not None else "–", ""),
        ("largest drift", _short(worst), verdict(worst) if worst is not None else ""),
    ]
    inner = "".join(
        f'<div class="card"><span class="soft">{name}</span><b class="{kind}">{value}</b></div>'
        for name, value, kind in cards
    )
    return f'<div class="cards">{inner}</div>'


def _chart(name: str, counts: Mapping[str, int], drift: float | None) -> str:
    """Bars of counts in the order of kinds; of many kinds, the most frequent ones."""
    kinds = sorted(counts, key=lambda kind: -counts[kind])[:40] if name == "characters" else sorted(counts)
    most = max(counts.values(), default=1)
    width = min(36.0, 360 / max(1, len(kinds)))
    every = max(1, -(-len(kinds) // 12)) if name != "characters" else 1
    bars = []
    for place, kind in enumerate(kinds):
        height = 110 * counts[kind] / most
        told = escape(f"{kind}: {counts[kind]:,}")
        bars.append(
            f'<rect x="{place * width + 0.5:.1f}" y="{120 - height:.1f}" width="{max(1, width - 1):.1f}" '
            f'height="{height:.1f}"><title>{told}</title></rect>'
        )
        if place % every == 0:
            middle = (place + 0.5) * width
            bars.append(
                f'<text x="{middle:.1f}" y="135" font-size="11" text-anchor="middle">{escape(kind)}</text>'
            )
    told = "" if drift is None else f' <span class="{verdict(drift)}">drift {_short(drift)}</span>'
    svg = f'<svg viewBox="0 0 360 142" role="img" aria-label="{escape(name)}">{"".join(bars)}</svg>'
    return f'<div class="card"><span class="soft">{escape(name)}</span>{told}{svg}</div>'


def _drift_note(morning: Morning) -> str:
    if not morning.drift:
        return '<p class="soft">No night before this one to compare with.</p>'
    return (
        f'<p class="soft">Drift: the population stability index against the last {NIGHTS} nights. '
        f"From {WARN} on it is worth a look, from {ALARM} on an alarm.</p>"
    )


def _drift(value: float | None) -> str:
    return "–" if value is None else f"{_short(value)} {verdict(value)}"


def _table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def cell(value: object) -> str:
        number = isinstance(value, int)
        text = escape(f"{value:,}" if number else str(value))
        return f'<td class="n">{text}</td>' if number else f"<td>{text}</td>"

    listed = [tuple(row) for row in rows]
    numbers = [any(isinstance(row[place], int) for row in listed) for place in range(len(headers))]
    head = "".join(
        f'<th class="n">{escape(name)}</th>' if number else f"<th>{escape(name)}</th>"
        for name, number in zip(headers, numbers, strict=True)
    )
    body = "".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in listed)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _sheet(examples: Sequence[Example]) -> str:
    figures = []
    for each in examples:
        image = f'<img src="{each.picture}" alt="">' if each.picture else '<span class="soft">gone</span>'
        figures.append(
            f'<figure><div class="frame">{image}</div><figcaption><b>{escape(each.text or "(nothing)")}</b> '
            f"{_short(each.confidence)}{_shadow(each)}<br>"
            f'<span class="soft">{escape(each.key)}</span></figcaption></figure>'
        )
    return f'<div class="sheet">{"".join(figures)}</div>'


def _shadow(example: Example) -> str:
    text = example.shadow_text
    return "" if text is None or text == example.text else f" · shadow: <b>{escape(text or '(nothing)')}</b>"


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    if 0 < abs(value) < 0.001:
        return "< 0.001"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
