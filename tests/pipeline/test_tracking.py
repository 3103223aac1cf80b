"""Tracking against a real MLflow server and SQLite: nothing twice, nothing lost, nothing waited for."""

import io
import itertools
import logging
import math
import pickle
import socket
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.errors import ConfigError
from pipeline.mlflow_run import RunDetails, mlflow_client, open_run
from pipeline.tracking import (
    MetricPoint,
    Tracker,
    TrackerConfig,
    resolve_tracking_uri,
)

EXPERIMENTS = itertools.count()
PATIENCE_S = 60.0
"""Longer than anything takes; reached only by a failing test."""


@pytest.fixture
def config(mlflow_server: Any) -> TrackerConfig:
    """A run that doesn't exist yet, in an experiment of its own."""
    return TrackerConfig(
        tracking_uri=mlflow_server.uri, experiment=f"experiment {next(EXPERIMENTS)}", run_name="run-1"
    )


@pytest.fixture
def open_tracker() -> Iterator[Callable[[TrackerConfig], Tracker]]:
    """Makes trackers; their writers end with the test."""
    made: list[Tracker] = []

    def make(config: TrackerConfig) -> Tracker:
        made.append(Tracker(config))
        return made[-1]

    yield make
    for tracker in made:
        tracker.finish("KILLED", deadline_s=0.0)


def points(first: int, last: int, key: str = "loss") -> list[MetricPoint]:
    """What a deterministic training would measure at these steps."""
    return [
        MetricPoint(key=key, value=1.0 / (step + 1), step=step, timestamp_ms=1_700_000_000_000 + step)
        for step in range(first, last)
    ]


def curve(config: TrackerConfig, key: str = "loss") -> list[MetricPoint]:
    """The curve that MLflow holds, in the order of steps."""
    client = mlflow_client(config.tracking_uri)
    history = client.get_metric_history(the_run(config).info.run_id, key)
    return sorted((MetricPoint(m.key, m.value, m.step, m.timestamp) for m in history), key=lambda p: p.step)


def the_run(config: TrackerConfig) -> Any:
    """The experiment's run, of which there must be one."""
    client = mlflow_client(config.tracking_uri)
    experiment = client.get_experiment_by_name(config.experiment)
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (64, 32), shade).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_restart_that_sends_its_history_again_leaves_every_point_once(
    config: TrackerConfig, open_tracker: Callable[[TrackerConfig], Tracker]
) -> None:
    first = open_tracker(config)
    first.open_run()
    first.log_points(points(0, 1500))  # more than one batch
    assert first.flush(PATIENCE_S) == 0
    second = open_tracker(config)
    second.open_run()
    second.log_points(points(0, 1600))
    second.log_points(points(1000, 1700))
    assert second.finish("FINISHED", PATIENCE_S) == 0
    assert curve(config) == points(0, 1700)
    assert the_run(config).info.status == "FINISHED"


def test_what_is_said_while_the_server_is_gone_arrives_once_when_it_is_back(
    mlflow_server: Any,
    config: TrackerConfig,
    open_tracker: Callable[[TrackerConfig], Tracker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = open_tracker(config)
    tracker.open_run()
    tracker.log_points(points(0, 10))
    assert tracker.flush(PATIENCE_S) == 0
    mlflow_server.kill()
    try:
        with caplog.at_level(logging.INFO, "pipeline.tracking"):
            # Each of these returns although nothing answers.
            tracker.log_points(points(10, 700))
            tracker.log_picture("words", 10, png(1))
            assert tracker.flush(0.5) == 691
            tracker.log_points(points(700, 1300))
            assert tracker.flush(0.5) == 1291
    finally:
        mlflow_server.start()
    with caplog.at_level(logging.INFO, "pipeline.tracking"):
        assert tracker.flush(PATIENCE_S) == 0
    assert curve(config) == points(0, 1300)
    told = [record.getMessage() for record in caplog.records]
    assert sum("The job goes on" in line for line in told) == 1
    assert sum("answers again" in line for line in told) == 1


def test_a_run_that_begins_without_a_server_is_made_when_there_is_one(
    mlflow_server: Any, config: TrackerConfig, open_tracker: Callable[[TrackerConfig], Tracker]
) -> None:
    mlflow_server.kill()
    try:
        tracker = open_tracker(config)
        tracker.open_run(params={"seed": "7"})
        tracker.log_points(points(0, 5))
        assert tracker.run_id() is None
    finally:
        mlflow_server.start()
    assert tracker.finish("FINISHED", PATIENCE_S) == 0
    assert tracker.run_id() == the_run(config).info.run_id
    assert the_run(config).data.params == {"seed": "7"}
    assert curve(config) == points(0, 5)


def test_a_server_that_never_answers_costs_a_warning_with_what_to_do(
    open_tracker: Callable[[TrackerConfig], Tracker],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        config = TrackerConfig(tracking_uri=uri, experiment="e", run_name="r", remedy="Look there instead.")
        tracker = open_tracker(config)
        tracker.open_run()
        tracker.log_points(points(0, 20))
        assert tracker.run_id() is None
        assert tracker.finish("FINISHED", deadline_s=0.1) == 22
    assert "20 points and 2 other entries of run r are not there. Look there instead." in caplog.text


def test_a_tracker_that_was_not_told_to_open_the_run_waits_for_the_one_that_was(
    config: TrackerConfig, open_tracker: Callable[[TrackerConfig], Tracker]
) -> None:
    waiting = open_tracker(pickle.loads(pickle.dumps(config)))
    waiting.log_points(points(0, 3))
    assert waiting.flush(1.0) == 3
    driver = open_tracker(config)
    driver.open_run()
    assert driver.run_id(PATIENCE_S) is not None
    assert waiting.flush(PATIENCE_S) == 0
    assert curve(config) == points(0, 3)


def test_what_mlflow_refuses_does_not_hold_up_the_rest(
    config: TrackerConfig, open_tracker: Callable[[TrackerConfig], Tracker], caplog: pytest.LogCaptureFixture
) -> None:
    tracker = open_tracker(config)
    tracker.open_run()
    tracker.log_points([*points(0, 7), MetricPoint("not#a#name", 1.0, 1, 1), *points(7, 20)])
    tracker.log_picture("not#a#name", 1, png(0))
    tracker.log_text("fine.txt", "fine")
    assert tracker.flush(PATIENCE_S) == 0
    assert curve(config) == points(0, 20)
    assert "not#a#name" in caplog.text
    files = mlflow_client(config.tracking_uri).list_artifacts(the_run(config).info.run_id)
    assert [f.path for f in files] == ["fine.txt"]


def test_numbers_that_are_none_arrive_as_such(
    config: TrackerConfig, open_tracker: Callable[[TrackerConfig], Tracker]
) -> None:
    odd = [
        MetricPoint("grad_norm", value, step, step) for step, value in enumerate((math.nan, math.inf, 1.0))
    ]
    for _ in range(2):
        tracker = open_tracker(config)
        tracker.open_run()
        tracker.log_points(odd)
        assert tracker.flush(PATIENCE_S) == 0
    nan, infinite, one = curve(config, "grad_norm")
    assert math.isnan(nan.value)
    assert infinite.value > 1e300
    assert one.value == 1.0


def test_a_run_that_was_deleted_gets_its_points_when_it_is_restored(
    config: TrackerConfig, open_tracker: Callable[[TrackerConfig], Tracker]
) -> None:
    tracker = open_tracker(config)
    tracker.open_run()
    assert tracker.flush(PATIENCE_S) == 0
    client, run_id = mlflow_client(config.tracking_uri), tracker.run_id()
    client.delete_run(run_id)
    tracker.log_points(points(0, 30))
    assert tracker.flush(1.0) == 30
    client.restore_run(run_id)
    assert tracker.flush(PATIENCE_S) == 0
    assert curve(config) == points(0, 30)


def test_a_server_that_lost_the_run_is_told_all_of_it_again(
    mlflow_server: Any, config: TrackerConfig, open_tracker: Callable[[TrackerConfig], Tracker]
) -> None:
    tracker = open_tracker(config)
    tracker.open_run(params={"seed": "7"})
    tracker.log_points(points(0, 30))
    assert tracker.flush(PATIENCE_S) == 0
    lost = tracker.run_id()
    with sqlite3.connect(mlflow_server.folder / "mlflow.db") as database:
        for table in ("metrics", "latest_metrics", "params", "tags", "runs"):
            database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (lost,))
    tracker.log_points(points(30, 40))
    assert tracker.flush(PATIENCE_S) == 0
    assert tracker.run_id() == the_run(config).info.run_id != lost
    assert the_run(config).data.params == {"seed": "7"}
    assert curve(config) == points(0, 40)


@pytest.fixture(scope="module")
def sqlite_uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    return resolve_tracking_uri("sqlite:///mlflow.db", tmp_path_factory.mktemp("sqlite") / "new")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    crashes=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=5), final=st.integers(31, 40)
)
def test_after_any_crashes_mlflow_holds_the_surviving_history_once(
    sqlite_uri: str, crashes: list[tuple[int, int]], final: int
) -> None:
    client = mlflow_client(sqlite_uri)
    name = f"experiment {next(EXPERIMENTS)}"
    for first, last in [*crashes, (0, final)]:
        run = open_run(client, sqlite_uri, name, "run", RunDetails())
        run.send_points(points(min(first, last), max(first, last)))
    config = TrackerConfig(tracking_uri=sqlite_uri, experiment=name, run_name="run")
    assert curve(config) == points(0, final)


@pytest.mark.parametrize(
    "changes",
    [{"tracking_uri": "sqlite:///x.db"}, {"run_name": "it's"}, {"experiment": ""}, {"run_name": "x" * 251}],
)
def test_a_config_that_would_go_wrong_later_is_refused_now(changes: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        TrackerConfig(**({"tracking_uri": "http://h:1", "experiment": "e", "run_name": "r"} | changes))
