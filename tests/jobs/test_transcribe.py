"""The job as a person and a scheduler meet it: exit codes, the table at the end, a kill on the way."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from crnn.recognizer import Recognizer
from jobs.runtime import ExitCode, connect_ray
from jobs.transcribe import main
from pipeline.lease import acquire
from pipeline.nightly.table import TranscriptTable
from pipeline.transcription_run import FEW_QUARANTINED

# Ray Data warns of its own defaults.
pytestmark = pytest.mark.filterwarnings(r"ignore:.*is deprecated:DeprecationWarning:ray\.data\.context")

ROOT = Path(__file__).resolve().parents[2]


def test_a_killed_job_started_again_ends_with_one_row_an_object(
    untrained_bundle: Path, pictures: dict[str, bytes], tmp_path: Path
) -> None:
    source, parts = tmp_path / "in", tmp_path / "out/table/run=night"
    source.mkdir()
    for name, data in pictures.items():
        (source / name).write_bytes(data)
    (source / "notes.txt").write_bytes(b"no picture")
    command = [
        sys.executable,
        "jobs/transcribe.py",
        "--input",
        str(source),
        "--output",
        str(tmp_path / "out"),
    ]
    command += ["--model", str(untrained_bundle), "--run", "night", "--shard-rows", "4"]
    command += ["--tracking", f"sqlite:///{tmp_path}/mlflow.db"]
    command += ["--n-best", "3", "--export", str(tmp_path / "night.jsonl"), "--export-rows", "run"]

    said = tmp_path / "stderr"
    with (
        said.open("wb") as stderr,
        subprocess.Popen(command, cwd=ROOT, stderr=stderr, start_new_session=True) as killed,
    ):
        while not (parts.is_dir() and any(parts.glob("*.parquet"))):
            assert killed.poll() is None, f"the job ended before its first part: {said.read_text()[-2000:]}"
        os.killpg(killed.pid, signal.SIGKILL)
    early = {path.name: path.read_bytes() for path in parts.glob("*.parquet")}

    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert again.returncode == ExitCode.OK, again.stderr
    assert re.search(r"low_confidence +- +60\n", again.stdout)
    assert re.search(r"quarantined +not_an_image +1\n", again.stdout)
    assert re.search(r"rows +61 of 61 owed", again.stdout)
    assert re.search(r"done before +([1-9]\d*)", again.stdout)
    assert all((parts / name).read_bytes() == data for name, data in early.items())

    assert (tmp_path / "out/runs/night/report.html").is_file()
    assert str(tmp_path / "out/runs/night/report.html") in again.stdout
    published = TranscriptTable(str(tmp_path / "out")).rows()
    assert published is not None
    table = published.to_table()
    read = {row["key"]: row["text"] for row in table.to_pylist()}
    recognizer = Recognizer.load(untrained_bundle)
    alone = [h.text for h in recognizer([pictures[name] for name in sorted(pictures)])]
    assert read == dict(zip(sorted(pictures), alone, strict=True)) | {"notes.txt": None}
    assert table.num_rows == len(read)
    exported = [json.loads(line) for line in (tmp_path / "night.jsonl").read_text().splitlines()]
    assert {row["key"]: row["text"] for row in exported} == read
    assert {row["key"] for row in exported if len(row["alternatives"] or []) == 2} == set(pictures)


def test_what_a_worker_of_an_earlier_start_commits_meanwhile_counts_as_done(
    usual: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(FEW_QUARANTINED + 1):
        Path(f"in/{number:02}.png").write_bytes(b"no picture")
    command = [*usual, "--run", "night", "--shard-rows", "10"]
    assert main(command) == ExitCode.INCOMPLETE
    late = Path("out/runs/night/done/000001.json")
    committed = late.read_bytes()

    @contextmanager
    def slowly() -> Iterator[None]:
        with connect_ray():
            late.write_bytes(committed)
            yield

    monkeypatch.setattr("jobs.transcribe.connect_ray", slowly)
    Path("out/runs/night/done/000002.json").unlink()
    for left in (True, False):  # some of what is left, and all of it
        late.unlink()
        assert main([*command, "--max-quarantined", "1"]) == ExitCode.OK, left
        assert "22 of 22 owed" in capsys.readouterr().out


def test_a_second_night_reads_what_is_new_and_a_third_publishes_nothing(
    usual: list[str], pictures: dict[str, bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, names in enumerate((["00.png", "01.png"], ["02.png"], [])):
        for name in names:
            Path("in", name).write_bytes(pictures[name])
        assert main([*usual, "--run", f"night{number}"]) == ExitCode.OK
        told = capsys.readouterr().out
        assert f"{len(names) + (number == 0)} of {len(names) + (number == 0)} owed" in told
    assert "nothing published" in told
    assert TranscriptTable("out").publications() == 2


def test_a_dry_run_tells_what_is_new_and_writes_nothing(
    usual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in/b.txt").write_bytes(b"four")
    assert main([*usual, "--dry-run", "--include", "*.txt"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert re.search(r"objects +2\n.*left out by name +1\nnamed twice +0\nnew +1\nbytes to fetch +4\n", told)
    assert not Path("out").exists()


def test_a_dry_run_tells_time_and_cost_by_a_rate_that_is_given(
    usual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*usual, "--dry-run"]) == ExitCode.OK
    assert "time              not known before" in capsys.readouterr().out
    for number in range(359):
        Path(f"in/{number}.png").write_bytes(b"x")
    assert main([*usual, "--dry-run", "--images-per-second", "0.5", "--cost-per-hour", "5"]) == ExitCode.OK
    told = capsys.readouterr().out
    assert "time              12:00 after the start, at 0.5 images/s as given\ncost              1\n" in told


def test_a_job_beside_another_ends_with_75_and_leaves_it_alone(
    usual: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with acquire("out", "first", silence_s=0.4) as lease:
        assert main([*usual, "--run", "second", "--lease-s", "0.4"]) == ExitCode.LEASE_HELD
        lease.check(ask=True)
    assert "Run first is at work" in capsys.readouterr().err
    assert not Path("out/runs").exists()


def test_a_job_that_is_asked_to_end_leaves_its_lease_to_the_next(
    usual: list[str], s3_server: Any, s3_bucket: str
) -> None:
    s3_server.order({"kind": "delay", "query": "prefix=in", "seconds": 20, "times": 1})
    command = [sys.executable, str(ROOT / "jobs/transcribe.py"), *usual, "--input", f"{s3_bucket}/in"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as job:
        while not any("prefix=in" in query for _, _, query in s3_server.requests()):
            assert job.poll() is None
            time.sleep(0.05)
        job.send_signal(signal.SIGTERM)
        _, told = job.communicate(timeout=60)
    assert job.returncode == ExitCode.TERMINATED, told
    assert json.loads(Path("out/lease/00000001.beat").read_text())["left"]


def test_a_listing_that_fails_ends_with_3_and_its_cause(
    usual: list[str], s3_server: Any, s3_bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for code, status in (("AccessDenied", 403), ("ExpiredToken", 400)):
        s3_server.order({"kind": "status", "query": "prefix=in", "code": code, "status": status})
        assert main([*usual, "--input", f"{s3_bucket}/in", "--run", "r"]) == ExitCode.INCOMPLETE
        told = capsys.readouterr().err
        assert code in told
        assert "--run r goes on from there" in told
        assert not Path("out/runs/r/listing.json").exists()


@pytest.fixture
def usual(untrained_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Flags that would work, from a working folder of their own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.png").write_bytes(b"a")
    return ["--input", "in", "--output", "out", "--model", str(untrained_bundle)]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--inptu", "x"], "inptu"),
        (["--model", "no-such-bundle"], "no-such-bundle"),
        (["--input", "no-such-folder"], "no-such-folder"),
        (["--include", "*.jpg"], "none of which matches *.jpg"),
        (["--limit", "0"], "--limit 0"),
        (["--limit", "many"], "many"),
        (["--output", "in/inner"], "lies in the input"),
    ],
)
def test_what_can_not_work_ends_with_2_before_ray_starts(
    usual: list[str], capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main([*usual, *arguments]) == ExitCode.BAD_CONFIG
    assert told in capsys.readouterr().err
    assert not Path("out/table").exists()
