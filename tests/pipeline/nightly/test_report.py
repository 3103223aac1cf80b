import io
import json
import re
import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.histograms import count_readings
from pipeline.mlflow_run import mlflow_client
from pipeline.nightly.drift import verdict
from pipeline.nightly.morning import PICTURES
from pipeline.nightly.pace import last_pace, shard_rows
from pipeline.nightly.report import report, track
from pipeline.nightly.table import TranscriptTable
from pipeline.storage import list_objects
from tests.pipeline.nightly.test_figures import figures
from tests.pipeline.nightly.test_table import nothing, put, row

HOSTILE = "<script>alert(1)</script>&'\""


@pytest.fixture
def table(tmp_path: Path) -> TranscriptTable:
    """Two nights of 40 images and a broken one; the second night's texts are longer."""
    (tmp_path / "in").mkdir()
    buffer = io.BytesIO()
    Image.new("L", (50, 20), 200).save(buffer, "PNG")
    for number in range(40):
        (tmp_path / "in" / f"{number:02d}.png").write_bytes(buffer.getvalue())
    stored = {each.key: each for each in list_objects(str(tmp_path / "in"))}
    table = TranscriptTable(str(tmp_path / "out"))
    for publication, text in ((1, "ab"), (2, HOSTILE)):
        rows = [
            row(
                f"it's/{key}",
                publication,
                uri=each.uri,
                etag=each.etag,
                text=text,
                confidence=number / 40,
            )
            for number, (key, each) in enumerate(stored.items())
        ]
        bad = {
            "status": "quarantined",
            "reason": "empty",
            "detail": HOSTILE,
            "text": None,
            "confidence": None,
        }
        rows.append(row("bad", publication, **bad))
        run = f"night{publication}"
        table.publish(
            run, [put(table, run, *rows)], epoch=publication, publication=publication, check=nothing
        )
    return table


class Page(HTMLParser):
    """What of a page matters: its pictures, and whether anything would be fetched or run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.pictures: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.pictures += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"


def test_the_page_shows_the_night_and_needs_nothing_from_elsewhere(
    table: TranscriptTable, tmp_path: Path
) -> None:
    morning, uri = report(figures("night2", 2), table, str(tmp_path / "run"))
    page = Page(Path(uri).read_text())
    assert not page.tags & {"script", "link", "iframe"}
    assert len(page.pictures) == 2 * PICTURES
    assert all(picture.startswith("data:image/png;base64,") for picture in page.pictures)
    assert HOSTILE in page.text
    assert not re.search(r"url\(|@import|https?:", Path(uri).read_text())
    assert [each.confidence for each in morning.least_confident] == [
        pytest.approx(number / 40) for number in range(PICTURES)
    ]
    assert [each.detail for each in morning.quarantined["empty"]] == [HOSTILE]
    assert {prefix.name: prefix.rows for prefix in morning.prefixes} == {"it's/": 40, "(top)": 1}


def test_histograms_count_this_night_and_drift_compares_it_with_those_before(
    table: TranscriptTable, tmp_path: Path
) -> None:
    first, _ = report(figures("night1", 1), table, str(tmp_path / "run1"))
    second, _ = report(figures("night2", 2), table, str(tmp_path / "run2"))
    assert first.histograms["characters"] == {"a": 40, "b": 40}
    assert first.histograms["length"] == {"02": 40}
    assert sum(second.histograms["confidence"].values()) == 40
    assert first.drift == {}
    assert second.drift["length"] > 0.25
    assert "confidence" not in second.drift  # of 20 kinds, 40 texts tell nothing
    told = json.loads((tmp_path / "run2/report.json").read_bytes())
    assert told["drift"] == second.drift
    assert (told["images_per_second"], told["cost_per_million"]) == (20.5, pytest.approx(48.78, rel=1e-3))
    assert (told["steady_images_per_second"], told["recogniser"], told["limit"]) == (20, 40 / 3, "decode")


def one_night(tmp_path: Path, *rows: dict[str, Any]) -> TranscriptTable:
    table = TranscriptTable(str(tmp_path / "out"))
    table.publish("night1", [put(table, "night1", *rows)], epoch=1, publication=1, check=nothing)
    return table


@pytest.mark.parametrize(("shift", "kind"), [(0.0, "ok"), (0.3, "alarm")])
def test_a_night_and_its_folders_are_compared_with_the_words_that_the_model_was_calibrated_on(
    tmp_path: Path, shift: float, kind: str
) -> None:
    readings = [(f"{'abc'[n % 3]}", n / 2_000) for n in range(2_000)]
    held_out = count_readings(readings)
    rows = [
        row(f"{'ab'[n % 2]}/{n}", text=text, confidence=min(0.99, confidence + shift))
        for n, (text, confidence) in enumerate(readings)
    ]
    rows += [row(f"few/{n}", text="a", confidence=0.01) for n in range(20)]
    morning, uri = report(figures("night1", 1), one_night(tmp_path, *rows), str(tmp_path / "run"), held_out)
    assert morning.drift == {}
    assert {verdict(morning.drift_held_out["confidence"])} == {kind}
    assert morning.drift_held_out["characters"] < 0.01
    drifts = {prefix.name: prefix.drift_held_out for prefix in morning.prefixes}
    assert {verdict(drifts[name] or 0.0) for name in ("a/", "b/")} == {kind}
    assert drifts["few/"] is None  # a sure alarm of twenty rows, and worth nothing
    assert morning.metrics()["drift_held_out/confidence"] == morning.drift_held_out["confidence"]
    assert "calibrated on: other pictures" in Page(Path(uri).read_text()).text


def test_a_bundle_that_does_not_tell_what_it_read_of_held_out_words_is_told(
    table: TranscriptTable, tmp_path: Path
) -> None:
    morning, uri = report(figures("night2", 2), table, str(tmp_path / "run"), None)
    assert morning.drift_held_out == {}
    assert {prefix.drift_held_out for prefix in morning.prefixes} == {None}
    text = Page(Path(uri).read_text()).text
    assert "doesn't tell what it read of held-out words as it read here" in text
    assert "jobs/evaluate.py --calibrate" in text


def test_throughput_over_time_adds_up_to_the_images_after_the_first_shard(tmp_path: Path) -> None:
    start = datetime(2030, 1, 1, 23, 50, tzinfo=UTC)
    ends = [start + timedelta(minutes=minutes) for minutes in (0, 4, 8, 12, 20)]
    rows = [row(f"{shard}/{n}", recognised_at=at) for shard, at in enumerate(ends) for n in range(shard + 1)]
    morning, uri = report(figures("night1", 1), one_night(tmp_path, *rows), str(tmp_path / "run"))
    at, rates = zip(*morning.throughput, strict=True)
    assert at == ("23:50", "23:55", "00:00", "00:05")
    assert [round(rate * 300) for rate in rates] == [2, 3, 4, 5]
    assert "images/s by time" in Page(Path(uri).read_text()).text
    assert json.loads((tmp_path / "run/report.json").read_bytes())["throughput"][3] == ["00:05", 5 / 300]


def test_a_start_that_found_all_done_keeps_the_speed_that_an_earlier_one_told(
    table: TranscriptTable, tmp_path: Path
) -> None:
    first, _ = report(figures("night2", 2), table, str(tmp_path / "run"))
    nothing_left = figures("night2", 2, images=0, seconds=0.0, steady=(0, 0.0), recognisers=0)
    again, _ = report(nothing_left, table, str(tmp_path / "run"))
    assert again == first
    (tmp_path / "run/report.json").write_text("{}")
    unknown, _ = report(nothing_left, table, str(tmp_path / "run"))
    assert unknown.figures.images_per_second is None


def test_the_page_tells_of_canaries_and_where_the_shadow_model_disagrees(tmp_path: Path) -> None:
    table = TranscriptTable(str(tmp_path / "out"))
    rows = [
        row(f"{n}", text="same", shadow_text=["same", "other"][n == 3] if n < 4 else None) for n in range(9)
    ]
    table.publish("night1", [put(table, "night1", *rows)], epoch=1, publication=1, check=nothing)
    canaries = {"words": 2.0, "characters": 10.0, "edits": 1.0, "confidence": 1.5}
    measured = {f"canaries/{name}": value for name, value in canaries.items()}
    morning, uri = report(figures("night1", 1, measured=measured), table, str(tmp_path / "run"))
    assert (morning.shadowed, morning.agreed, morning.agreement) == (4, 3, 0.75)
    assert [(each.text, each.shadow_text) for each in morning.disagreements] == [("same", "other")]
    text = Page(Path(uri).read_text()).text
    assert re.search(r"canaries' CER\s+10\.0 %", text)
    assert re.search(r"shadow agrees\s+75\.0 %", text)
    assert re.search(r"shadow:\s+other", text)
    told = morning.metrics()
    assert (told["canary_cer"], told["canary_confidence"], told["shadow_agreement"]) == (0.1, 0.75, 0.75)


def test_the_next_night_knows_how_fast_the_last_was_and_cuts_its_shards_by_that(
    table: TranscriptTable, tmp_path: Path
) -> None:
    output = str(tmp_path / "out")
    assert last_pace(TranscriptTable(str(tmp_path / "none")), output) is None
    assert last_pace(table, output) is None  # it has no report yet
    report(figures("night2", 2), table, f"{output}/runs/night2")
    table.fence(9)
    pace = last_pace(table, output)
    assert pace is not None
    assert (pace.run, pace.images_per_second, pace.recogniser) == ("night2", 20, 40 / 3)
    assert shard_rows(pace) == 600
    assert shard_rows(None) == shard_rows(replace(pace, recogniser=None)) == 2_048
    assert (shard_rows(replace(pace, recogniser=1)), shard_rows(replace(pace, recogniser=1e6))) == (
        256,
        16_384,
    )


def test_a_picture_that_is_gone_by_morning_is_left_out(table: TranscriptTable, tmp_path: Path) -> None:
    (tmp_path / "in/00.png").unlink()
    (tmp_path / "in/01.png").write_bytes(b"overwritten")
    morning, uri = report(figures("night2", 2), table, str(tmp_path / "run"))
    assert [each.picture is None for each in morning.least_confident[:3]] == [True, True, False]
    assert "gone" in Path(uri).read_text()


def test_a_night_is_one_run_in_mlflow_however_often_it_is_told(
    table: TranscriptTable, tmp_path: Path
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    morning, _ = report(figures("night2", 2, images=0), table, str(tmp_path / "run"))
    for _ in range(2):
        track(morning, "page", tracking_uri=uri, experiment="e", params={"input": "x"})
    client = mlflow_client(uri)
    experiment = client.get_experiment_by_name("e")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["rows/ok"] == 40
    assert run.data.metrics["drift/length"] == morning.drift["length"]
    assert "images_per_second" not in run.data.metrics
    points = client.get_metric_history(run.info.run_id, "rows/ok")
    assert [(p.step, p.timestamp) for p in points] == [
        (2, morning.ended_ms)
    ]  # once, however often it is told
    assert run.info.start_time == morning.ended_ms - round(1000 * morning.figures.seconds)
    assert [each.path for each in client.list_artifacts(run.info.run_id)] == ["report.html"]


def test_a_night_that_mlflow_misses_says_where_its_report_is(
    table: TranscriptTable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    morning, page = report(figures("night2", 2), table, str(tmp_path / "run"))
    with socket.socket() as nobody:  # bound, and not listening: what connects is refused
        nobody.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        track(morning, page, tracking_uri=uri, experiment="e", params={}, deadline_s=0.1)
    (told,) = [line for line in caplog.messages if "are not there" in line]
    assert page in told
    assert "--run night2" in told
