"""The doctor on a good place and on broken ones: each fault named, with what to do, nothing else blamed."""

import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from jobs.doctor import main
from jobs.runtime import ExitCode
from tests.rays import RayCluster

ROOT = Path(__file__).resolve().parents[2]


def wrong(output: str) -> dict[str, str]:
    """What was found wrong, by the first word of what was looked at; the sentence and the advice."""
    found, lines = {}, output.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("WRONG"):
            advice = lines[number + 1] if lines[number + 1].startswith("       →") else ""
            found[line.split()[1].rstrip(":")] = line + advice
    return found


@contextmanager
def between(target: str, lost: str = "", added: Mapping[str, str] | None = None) -> Iterator[str]:
    """The address of a server that hands requests on to another, with a header less or more."""
    dropped = {"host", "connection", "expect", lost.lower()}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def hand_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {k: v for k, v in self.headers.items() if k.lower() not in dropped}
            request = urllib.request.Request(
                target + self.path, body or None, {**headers, **(added or {})}, method=self.command
            )
            try:
                answer: Any = urllib.request.urlopen(request, timeout=30)
            except urllib.error.HTTPError as error:
                answer = error
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            if self.command != "HEAD":
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = hand_on

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def local(tmp_path: Path) -> list[str]:
    return ["--output", str(tmp_path / "out"), "--tracking", f"sqlite:///{tmp_path}/mlflow.db"]


def test_a_good_place_is_called_good(
    s3_bucket: str, mlflow_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["--output", s3_bucket, "--tracking", mlflow_server.uri, "--fonts"])
    told = capsys.readouterr().out
    assert wrong(told) == {}
    assert code == ExitCode.OK
    assert "refuses to create what is there, deletes" in told
    assert "a server with" in told


def test_a_store_that_ignores_conditions_is_found_out(
    s3_bucket: str,
    s3_server: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    local: list[str],
) -> None:
    with between(s3_server.url, lost="If-None-Match") as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_REQUEST_CHECKSUM_CALCULATION", "when_required")  # no chunked bodies to relay
        monkeypatch.setenv("STORAGE_PATIENCE_S", "10")
        assert main([*local, "--output", s3_bucket]) == ExitCode.FAILED
    found = wrong(capsys.readouterr().out)
    assert found.keys() == {"storage"}
    assert "created twice" in found["storage"]
    assert "use a store that keeps them" in found["storage"]


def test_a_store_that_refuses_to_delete_is_good_enough(
    s3_bucket: str, s3_server: Any, capsys: pytest.CaptureFixture[str], local: list[str]
) -> None:
    s3_server.order({"kind": "status", "method": "DELETE", "code": "AccessDenied", "status": 403})
    assert main([*local, "--output", s3_bucket]) == ExitCode.OK
    assert "may not delete" in capsys.readouterr().out


def test_credentials_that_may_not_write_are_found_out(
    s3_bucket: str, s3_server: Any, capsys: pytest.CaptureFixture[str], local: list[str]
) -> None:
    s3_server.order({"kind": "status", "method": "PUT", "code": "AccessDenied", "status": 403})
    assert main([*local, "--output", s3_bucket]) == ExitCode.FAILED
    found = wrong(capsys.readouterr().out)
    assert found.keys() == {"storage"}
    assert "check the role's policy" in found["storage"]


def test_a_server_that_refuses_its_name_is_told_how_to_take_it(
    mlflow_server: Any, capsys: pytest.CaptureFixture[str], local: list[str]
) -> None:
    with between(mlflow_server.uri, added={"Host": "mlflow.example:5000"}) as address:
        assert main([*local, "--tracking", address]) == ExitCode.FAILED
    found = wrong(capsys.readouterr().out)
    assert found.keys() == {"MLflow"}
    assert f"--allowed-hosts {address.removeprefix('http://')}" in found["MLflow"]


def test_what_is_not_there_is_named_and_the_rest_is_looked_at_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nothing = "http://127.0.0.1:9"
    assert main(["--output", str(tmp_path), "--tracking", nothing, "--address", nothing]) == ExitCode.FAILED
    told = capsys.readouterr().out
    assert wrong(told).keys() == {"MLflow", "Ray"}
    assert "ok     storage" in told
    assert "2 of these must be put right." in told


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, {}),
        ({"RAY_AUTH_TOKEN": "0" * 64}, {"Ray": "it refuses this token"}),
    ],
)
def test_a_guarded_cluster_is_good_for_those_who_have_its_token(
    guarded: RayCluster, environment: dict[str, str], found: dict[str, str], local: list[str]
) -> None:
    done = doctor(guarded, [*local, "--address", guarded.address], environment)
    told = wrong(done.stdout)
    assert told.keys() == found.keys(), done.stdout
    assert all(sentence in told[what] for what, sentence in found.items())
    assert "nobody gets in without" in done.stdout


def test_each_node_is_asked_from_inside(guarded: RayCluster, local: list[str]) -> None:
    done = doctor(guarded, [*local, "--address", f"127.0.0.1:{guarded.port}"], {})
    assert done.returncode == ExitCode.OK, done.stdout + done.stderr
    assert re.search(r"ok +node [\d.]+: Python 3", done.stdout)
    assert "2 CPUs, 0 GPUs" in done.stdout


def test_an_open_cluster_is_found_out(local: list[str]) -> None:
    cluster = RayCluster(environment={"RAY_AUTH_MODE": "disabled"})
    try:
        cluster.start()
        done = doctor(cluster, [*local, "--address", cluster.address], {})
    finally:
        cluster.stop()
    found = wrong(done.stdout)
    assert found.keys() == {"Ray"}, done.stdout
    assert "anybody can run anything on it" in found["Ray"]
    assert "RAY_AUTH_MODE=token" in found["Ray"]


@pytest.fixture(scope="module")
def guarded() -> Iterator[RayCluster]:
    cluster = RayCluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def doctor(
    cluster: RayCluster, arguments: list[str], environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """The doctor in a process of its own: Ray reads its token once a process."""
    command = [sys.executable, str(ROOT / "jobs/doctor.py"), *arguments]
    return subprocess.run(
        command, env=cluster.client() | environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_rate_that_can_not_be_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--expected-images-per-s", "0"]) == ExitCode.BAD_CONFIG
    assert "give a rate above 0" in capsys.readouterr().err
