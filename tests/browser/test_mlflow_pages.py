"""MLflow's pages as a person meets them after a model and a night: every click, on a server of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.chromium import Chromium
from tests.conftest import MlflowServer
from tests.rays import ROOT

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

RIGHT = "\ue014"
"""The arrow key, as WebDriver writes it."""
CARD = """
const cards = Array.from(document.querySelectorAll("[data-testid=experiment-view-compare-runs-card]"));
const card = cards.find(card => card.innerText.startsWith(arguments[0]));
(card || cards[cards.length - 1])?.scrollIntoView({block: "center"});"""
"""A chart by its title. MLflow draws what is in sight: where the chart isn't yet, it scrolls on."""
LINE = f"""{CARD}
const box = card?.querySelector(".scatterlayer path.js-line")?.getBoundingClientRect();
return box?.width"""
SLIDER = f"{CARD} return card?.querySelector('[role=slider]')"
DRAWN = f"{CARD} const image = card?.querySelector('img'); return image?.naturalWidth"


MLFLOWS_OWN = ("users/current", "ResizeObserver loop")
"""What its pages complain of on any server without a login."""

JOBS = """
from pathlib import Path

from jobs import evaluate, synthesize, train, transcribe
from jobs.demo import lay_out
from jobs.runtime import connect_ray

words = ("easy", "--output", "train", "--rows", "1000")
held_out = ("easy", "--output", "held_out", "--rows", "60", "--split", "validation")
learn = ("demo", "--data", "train", "--validation", "held_out=held_out", "--images", "3000")
learn += ("--save-every", "1000", "--output", "runs")
judge = ("--model", "models:/crnn@candidate", "--data", "held_out=held_out", "--promote")
read = ("--input", "images", "--output", "out", "--model", "models:/crnn@champion", "--run", "night")
jobs = [(synthesize, words), (synthesize, held_out), (train, learn), (evaluate, judge), (transcribe, read)]
with connect_ray():
    for job, flags in jobs:
        if job is transcribe:
            lay_out("held_out", Path("images"))
        if code := job.main(flags):
            raise SystemExit(code)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a server to which a model was trained, evaluated and promoted, and a night was read."""
    folder = tmp_path_factory.mktemp("place")
    server = MlflowServer(folder)
    server.start()
    environment = os.environ | {"MLFLOW_TRACKING_URI": server.uri, "XDG_CACHE_HOME": str(folder / "cache")}
    try:
        done = subprocess.run(
            [sys.executable, "-c", JOBS],
            cwd=folder,
            env=environment | {"PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        yield server.uri
    finally:
        server.kill()


@pytest.fixture
def window(chromium: Chromium, server: str) -> Chromium:
    """The list of experiments, with what MLflow shows to newcomers done away with."""
    chromium.open(f"{server}/#/experiments")
    chromium.wait_for("Experiments", "crnn", "transcribe")
    if "Ask a question" in chromium.run("return document.body.innerHTML"):
        chromium.click(
            "return document.querySelector('[data-component-id=\"mlflow.assistant.chat_panel.close\"]')"
        )
    chromium.click_text("Model training")  # which the browser remembers
    return chromium


def open_run(window: Chromium, experiment: str, run: str) -> None:
    window.click_text(experiment)
    window.wait_for("Run Name", run)
    window.click_text(run)
    window.wait_for("About this run", "Finished")


def charts(window: Chromium, wanted: str) -> None:
    """Looks for charts of a run whose names match."""
    window.click_text("Model metrics")
    window.press("return document.querySelector('input[placeholder=\"Search metric charts\"]')", wanted)


def test_an_experiment_lists_its_runs_and_a_run_draws_its_curves(window: Chromium, pictures: Path) -> None:
    window.click_text("crnn")
    listed = window.wait_for("Run Name", "demo", "synthesize train", "evaluate crnn 1 on held_out")
    assert "train (" in listed  # the data set, with its fingerprint
    window.click_text("demo")
    window.wait_for("About this run")
    charts(window, "train/loss|word_accuracy|/cer")
    # Lines from one side of their charts to the other, rather than a bar or nothing.
    assert [title for title in ("loss", "word_accuracy", "cer") if window.wait(LINE, title) < 100] == []
    window.picture(pictures / "curves.png")
    assert [told for told in window.complaints() if not any(known in told for known in MLFLOWS_OWN)] == []


def test_the_slider_moves_through_what_was_read_of_the_held_out_words(
    window: Chromium, pictures: Path
) -> None:
    open_run(window, "crnn", "demo")
    charts(window, "held_out$")
    title = "validation/held_out"
    first = window.wait(f"{DRAWN} && image.src", title)  # without being moved: the words themselves
    assert "held_out%2Bstep%2B0%2B" in first
    window.press(SLIDER, RIGHT, title)
    second = window.wait(f"{DRAWN} && image.src !== arguments[1] && image.src", title, first)
    assert "held_out%2Bstep%2B" in second
    window.click(f"{DRAWN} && image", title)
    window.wait(
        "return document.querySelector('.rc-image-preview-img')?.getBoundingClientRect().width > 1000"
    )
    window.picture(pictures / "held-out.png")


def test_a_model_s_page_shows_its_aliases_and_what_each_version_is(window: Chromium, pictures: Path) -> None:
    window.click_text("Model registry")
    window.wait_for("Registered Models", "crnn")
    if window.run("return Boolean(document.querySelector('[role=dialog]'))"):
        window.click_text("Try it now")
    window.click_text("crnn")
    shown = window.wait_for("Version 1", "@ champion", "@ candidate")
    assert "% of 60 words" in shown
    window.picture(pictures / "model.png")


def test_a_night_shows_its_report(window: Chromium, pictures: Path) -> None:
    open_run(window, "transcribe", "transcribe night")
    window.click_text("Artifacts")
    window.click_text("report.html")
    window.wait("return document.querySelector('iframe.mlflow-html-iframe')")
    window.picture(pictures / "night.png")
    window.enter("return document.querySelector('iframe.mlflow-html-iframe')")
    shown = window.wait_for("Transcription night", "rows published", "Least confident", "not_an_image")
    assert "63" in shown
    sizes = window.run("return Array.from(document.images).map(image => image.naturalWidth)")
    assert len(sizes) > 20
    assert min(sizes) > 0
