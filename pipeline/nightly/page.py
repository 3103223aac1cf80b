"""The morning page: one HTML file that needs no network, for laptops and phones, by day and by night."""

from collections.abc import Iterable, Sequence
from html import escape

from pipeline.histograms import Histograms
from pipeline.lines import DECODE_S, FETCH_S, RECOGNISE_S
from pipeline.nightly.canaries import cer, confidence
from pipeline.nightly.charts import Bar, bar_chart, kinds_of
from pipeline.nightly.drift import ALARM, WARN, verdict
from pipeline.nightly.examples import Example
from pipeline.nightly.morning import NIGHTS, Morning
from pipeline.transcripts import READ

_LONG = 40
"""Letters from which on a cell is written on several lines."""
_FOLDERS = ("folder", "rows", "quaran\u00adtined", "confi\u00addence", "drift, nights", "drift, held-out")
_STAGES = {"waiting for bytes": FETCH_S, "decoding": DECODE_S, "recognising": RECOGNISE_S}

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2733; --soft: #5d6b7a; --line: #d9dfe6; --back: #f6f8fa;
  --card: #fff; --bar: #7fa6d6; --mark: #c2570c; --ok: #1d7a46; --warn: #9a6200; --alarm: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --soft: #9aa7b5; --line: #323c47;
  --back: #12171d; --card: #1a2129; --bar: #3f6a9c; --mark: #f0a35e; --ok: #5fc58b;
  --warn: #e0a94a; --alarm: #f0857c; } }
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
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid var(--line); }
th { vertical-align: bottom; } td { white-space: nowrap; } td.long { white-space: normal; min-width: 12rem; }
@media (max-width: 30rem) { th, td { padding: .35rem .25rem; font-size: .85rem; } }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.ok { color: var(--ok); } .warn { color: var(--warn); } .alarm { color: var(--alarm); }
.sheet { grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); }
figure { margin: 0; padding: .5rem; }
figure, .card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; }
figure .frame { height: 64px; display: flex; align-items: center; justify-content: center; }
figure img { max-width: 100%; max-height: 64px; }
figcaption { overflow-wrap: anywhere; font-size: .85rem; } figcaption b { font-size: .95rem; }
svg { width: 100%; height: auto; display: block; }
svg rect { fill: var(--bar); } svg text { fill: var(--soft); font-size: 11px; text-anchor: middle; }
svg path { stroke-width: 2; fill: none; } .mark0 { stroke: var(--ink); } .mark1 { stroke: var(--mark); }
.key { display: inline-block; width: 1rem; border-top: 2px solid; vertical-align: middle; }
.key.mark0 { border-color: var(--ink); } .key.mark1 { border-color: var(--mark); }
"""


def page(morning: Morning) -> str:
    """The whole page."""
    figures = morning.figures
    title = f"Transcription {figures.run}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">read by {escape(figures.model)}</p>',
        _cards(morning),
        "<h2>What became of the objects</h2>",
        _table(("status", "reason", "rows"), sorted(figures.outcomes)),
        *_work(morning),
        "<h2>Texts</h2>",
        '<div class="charts">',
        *(_chart(name, morning) for name in morning.histograms),
        "</div>",
        _drift_note(morning),
        "<h2>Folders</h2>",
        _table(
            _FOLDERS,
            [
                (
                    p.name,
                    p.rows,
                    p.quarantined,
                    _Number(_percent(p.mean_confidence)),
                    _drift(p.drift),
                    _drift(p.drift_held_out),
                )
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
        ("quarantined", _percent(quarantined / max(1, total)), ""),
        ("images/s", _short(figures.steady_images_per_second or figures.images_per_second), ""),
        ("limited by", figures.limit or "–", ""),
        ("cost per million", _short(figures.cost_per_million), ""),
        ("canaries' CER", _percent(cer(figures.measured)), ""),
        ("canaries' confidence", _percent(confidence(figures.measured)), ""),
        ("shadow agrees", _percent(morning.agreement), ""),
        (
            "largest drift",
            "–" if worst is None else f"{worst:.2f}",
            verdict(worst) if worst is not None else "",
        ),
    ]
    inner = "".join(
        f'<div class="card"><span class="soft">{name}</span><b class="{kind}">{value}</b></div>'
        for name, value, kind in cards
        if value != "–"
    )
    return f'<div class="cards">{inner}</div>'


def _work(morning: Morning) -> list[str]:
    """Where the time went."""
    figures, parts = morning.figures, []
    seconds = {name: figures.measured.get(key) for name, key in _STAGES.items()}
    read = sum(rows for status, _, rows in figures.outcomes if status in READ)
    rows = [(n, _Number(_short(s)), _Number(_short(read / s))) for n, s in seconds.items() if s]
    if rows:
        parts.append(_table(("stage", "seconds", "images/s of one process"), rows))
    if morning.throughput:
        bars = [Bar(kind=at, value=v, told=f"from {at}: {_short(v)}") for at, v in morning.throughput]
        chart = bar_chart("images per second", bars)
        head = f"images/s by time, UTC; most: {_short(max(v for _, v in morning.throughput))}"
        parts.append(f'<div class="card"><span class="soft">{head}</span>{chart}</div>')
    return ["<h2>Where the time went</h2>", '<div class="charts">', *parts, "</div>"] if parts else []


def _chart(name: str, morning: Morning) -> str:
    counts = morning.histograms[name]
    total = sum(counts.values())
    bars = []
    for kind in kinds_of(name, counts):
        count = counts.get(kind, 0)
        shown = kind.lstrip("0") or "0" if name == "length" else kind
        told = f"{shown}: {count:,} ({_percent(count / max(1, total))})"
        marks = tuple(_share(other, name, kind) for other in (morning.past, morning.held_out))
        bars.append(Bar(kind=shown, value=count / max(1, total), told=told, marks=marks))
    drifts = ((morning.drift, "nights"), (morning.drift_held_out, "held-out"))
    told = ", ".join(f"{_drift(drift[name])} from {whom}" for drift, whom in drifts if name in drift)
    head = f'{escape(name)}<br><span class="soft">drift {told or "–"}</span>'
    return f'<div class="card">{head}{bar_chart(name, bars)}</div>'


def _share(other: Histograms | None, name: str, kind: str) -> float | None:
    total = sum(other[name].values()) if other else 0
    return other[name].get(kind, 0) / total if other and total else None


def _drift_note(morning: Morning) -> str:
    told = [
        f"Drift is the population stability index: from {WARN} on it is worth a look, from {ALARM} on an "
        "alarm; where there is no number, there are too few texts to tell it from chance."
    ]
    if any(morning.past.values()):
        told.append(f'<span class="key mark0"></span> The last {NIGHTS} nights together.')
    else:
        told.append("No night before this one to compare with.")
    if morning.held_out:
        told.append(
            '<span class="key mark1"></span> What the model read of the held-out words that it was '
            "calibrated on: other pictures differ from them, and needn't be read worse for that."
        )
    else:
        told.append(
            "The model's bundle doesn't tell what it read of held-out words as it read here, so nothing is "
            "compared with them; <code>jobs/evaluate.py --calibrate</code> makes one that does, for models "
            "that read with all that they have."
        )
    return f'<p class="soft">{" ".join(told)}</p>'


class _Html(str):
    """What is markup already."""


class _Number(str):
    """A number that is written already."""


def _drift(value: float | None) -> str:
    return _Html("–" if value is None else f'<span class="{verdict(value)}">{value:.2f}</span>')


def _table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def cell(value: object) -> str:
        text = (
            value
            if isinstance(value, _Html)
            else escape(f"{value:,}" if isinstance(value, int) else str(value))
        )
        kind = "n" if _is_number(value) else "long" if len(text) > _LONG else ""
        return f'<td class="{kind}">{text}</td>'

    listed = [tuple(row) for row in rows]
    numbers = [any(_is_number(row[place]) for row in listed) for place in range(len(headers))]
    head = "".join(
        f'<th class="n">{escape(name)}</th>' if number else f"<th>{escape(name)}</th>"
        for name, number in zip(headers, numbers, strict=True)
    )
    body = "".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in listed)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _is_number(value: object) -> bool:
    return isinstance(value, int | _Number | _Html)


def _sheet(examples: Sequence[Example]) -> str:
    figures = []
    for each in examples:
        image = f'<img src="{each.picture}" alt="">' if each.picture else '<span class="soft">gone</span>'
        figures.append(
            f'<figure><div class="frame">{image}</div><figcaption><b>{escape(each.text or "(nothing)")}</b> '
            f'<span class="soft">{_percent(each.confidence)}</span>{_shadow(each)}<br>'
            f'<span class="soft">{escape(each.key).replace("/", "/<wbr>")}</span></figcaption></figure>'
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


def _percent(share: float | None) -> str:
    if share is None:
        return "–"
    return "< 0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"
