"""A night's report in a real browser: whatever files are named and texts say, it is shown and never run."""

import html
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.nightly.report import report
from pipeline.nightly.table import TranscriptTable
from tests.browser.chromium import Chromium
from tests.pipeline.nightly.test_figures import figures
from tests.pipeline.nightly.test_table import nothing, put, row

ATTACKS = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "\"'><script>alert(1)</script>",
    "</title></style><script>alert(1)</script>",
    "<iframe srcdoc='<script>parent.alert(1)</script>'>",
)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """The report of a night with an attack in every place that strangers or other systems can write to."""
    table = TranscriptTable(str(tmp_path / "out"))
    rows = [row("plain.png")]
    rows += [
        row(f"{attack}/{attack}.png", text=attack, shadow_text=attack[::-1], confidence=0.5)
        for attack in ATTACKS
    ]
    reasons = [f"reason{number}" for number in range(len(ATTACKS))]  # which the page shows a few of each of
    rows += [
        row(f"bad {attack}", status="quarantined", reason=reason, detail=attack, text=None, confidence=None)
        for attack, reason in zip(ATTACKS, reasons, strict=True)
    ]
    table.publish("night1", [put(table, "night1", *rows)], epoch=1, publication=1, check=nothing)
    outcomes = (("ok", "", 7), *(("quarantined", reason, 1) for reason in reasons))
    told = replace(figures("night1", 1), model=ATTACKS[0], outcomes=outcomes)
    _, uri = report(told, table, str(tmp_path / "run"))
    return Path(uri)


def test_attacks_in_names_and_texts_are_shown_and_do_nothing(chromium: Chromium, page: Path) -> None:
    chromium.keep_alerts()
    chromium.open(page.as_uri())
    assert chromium.alerts() == []
    shown = chromium.text()
    assert [attack for attack in ATTACKS if f"bad {attack}" not in shown] == []
    assert [attack for attack in ATTACKS if shown.count(attack) < 4] == []
    harm = "script, iframe, object, embed, link, base, form, [onload], [onerror]"
    assert chromium.run("return document.querySelectorAll(arguments[0]).length", harm) == 0
    elsewhere = "return performance.getEntriesByType('resource').map(e => e.name)"
    assert [name for name in chromium.run(elsewhere) if not name.startswith("data:")] == []
    assert chromium.complaints() == []


def test_without_escaping_the_same_page_would_be_an_attack(
    chromium: Chromium, page: Path, tmp_path: Path
) -> None:
    (tmp_path / "unescaped.html").write_text(html.unescape(page.read_text()))
    chromium.keep_alerts()
    chromium.open((tmp_path / "unescaped.html").as_uri())
    assert set(chromium.alerts()) == {"1"}
