"""Handing jobs to a real cluster: exit codes, names, signals, tokens."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.runtime import ExitCode
from jobs.submit import exit_code, main
from pipeline.submission import Ending, ShownLog
from tests.rays import RayCluster

JOB = """
import sys, time
from jobs.runtime import run_job
def body():
    try:
        print("ready", flush=True)
        time.sleep(100)
    finally:
        print("kept", flush=True)
raise SystemExit(run_job(body))
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    cluster = RayCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def test_a_job_s_exit_code_is_passed_on_and_its_name_runs_it_again_only_after_a_failure(
    cluster: RayCluster, tmp_path: Path
) -> None:
    # Fails at first, succeeds once the file is there.
    entry = ["bash", "-c", f"echo hello; test -e {tmp_path}/there || {{ touch {tmp_path}/there; exit 3; }}"]
    codes, outputs = [], []
    for _ in range(3):
        submitted = cluster.submit("twice", *entry)
        outputs.append(submitted.communicate(timeout=120)[0])
        codes.append(submitted.returncode)
    assert codes == [3, 0, 0], outputs
    assert re.findall(r"On the cluster as (\S+)", "".join(outputs)) == ["twice", "twice-2", "twice-2"]
    assert all(output.count("\nhello\n") + output.startswith("hello\n") == 1 for output in outputs)
    assert "exit code 3" in outputs[0]
    other = cluster.submit("twice", "true")
    told = other.communicate(timeout=120)[0]
    assert other.returncode == 2, told
    assert "twice-2 is there already, SUCCEEDED, with another command: bash -c" in told


def test_a_submission_that_is_ended_ends_its_job_in_order(cluster: RayCluster, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text(JOB)
    submitted = cluster.submit("ended", "python", "job.py", working_dir=tmp_path)
    assert submitted.stdout is not None
    told = ""
    while "ready\n" not in told:
        line = submitted.stdout.readline()
        assert line, told
        told += line
    submitted.send_signal(signal.SIGTERM)
    told += submitted.communicate(timeout=120)[0]
    assert submitted.returncode == ExitCode.TERMINATED, told
    assert "ended ended in order" in told
    assert b"kept" in cluster.get("/api/jobs/ended/logs")


@given(lines=st.lists(st.text(max_size=5), max_size=8), breaks=st.lists(st.integers(0, 8), max_size=5))
def test_a_log_is_shown_once_however_often_the_connection_breaks(lines: list[str], breaks: list[int]) -> None:
    told: list[str] = []
    shown = ShownLog(told.append)
    for end in (*breaks, len(lines)):
        shown.rewind()
        for line in lines[:end]:
            shown.add(line)
    assert "".join(told) == "".join(lines)


def test_nobody_hands_over_a_job_with_another_token(cluster: RayCluster) -> None:
    submitted = cluster.submit("stranger", "true", environment={"RAY_AUTH_TOKEN": "0" * 64})
    assert "doesn't let this in" in submitted.communicate(timeout=60)[0]
    assert submitted.returncode == ExitCode.BAD_CONFIG
    assert b"stranger" not in cluster.get("/api/jobs/")


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ([], "no command"),
        (["python", "jobs/train.py", "--tracking", "http://me:hunter2@mlflow:5000"], "password in a URI"),
        (["env", "X=canary-of-a-secret", "true"], "the value of AWS_SECRET_ACCESS_KEY"),
    ],
)
def test_a_command_that_would_show_a_secret_is_refused(
    entry: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-of-a-secret")
    assert main(["--address", "http://127.0.0.1:9", "--name", "x", "--", *entry]) == ExitCode.BAD_CONFIG
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["--name", "Big"], "--name 'Big'"), (["--nmae", "x"], "nmae"), ([], "name")],
)
def test_what_can_not_work_ends_with_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--", "true"]) == ExitCode.BAD_CONFIG
    assert told in capsys.readouterr().err


def test_a_cluster_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--address", "http://127.0.0.1:9", "--name", "x", "--", "true"]) == ExitCode.BAD_CONFIG
    assert "No Ray dashboard answers at http://127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("SUCCEEDED", 0, ExitCode.OK),
        ("FAILED", 75, 75),
        ("FAILED", -9, 137),
        ("FAILED", None, ExitCode.FAILED),
        ("STOPPED", None, ExitCode.TERMINATED),
    ],
)
def test_however_a_job_ended_a_scheduler_is_told(status: str, code: int | None, expected: int) -> None:
    assert exit_code(Ending(attempt="x", status=status, code=code, message="")) == expected
