"""MLflow is asked as jobs ask it, and what is wrong is told with what to do."""

import socket
from pathlib import Path
from typing import Any

from pipeline.checks.tracking import check_tracking


def test_a_server_and_a_file_are_good(mlflow_server: Any, tmp_path: Path) -> None:
    for uri, kind in (
        (mlflow_server.uri, "a server"),
        (f"sqlite:///{tmp_path}/m.db", "a file of this machine"),
    ):
        found = check_tracking(uri)
        assert found.good
        assert found.told.startswith(f"{kind} with ")


def test_what_can_not_be_asked_is_told_with_what_to_do() -> None:
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        found = check_tracking(f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert not found.good
    assert found.told == "nothing answers (ConnectionError)"
    assert "correct --tracking" in found.advice
    found = check_tracking("ftp://x")
    assert not found.good
    assert found.advice == "correct --tracking"
