"""Fixtures that the whole suite shares."""

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# Ray's token authentication writes into the home folder; the suite must leave no trace there.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
# Many processes on few cores: the threads of one would spin while those of another work.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Worker processes inherit neither pytest's warning filters nor its patience for usage pings.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray gives its workers little priority, for the sake of the machine's user; a test waits for them.
os.environ.setdefault("RAY_worker_niceness", "0")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files whose tests start Ray come first: with two processes, neither ends with minutes of them alone."""

    def is_quick(item: pytest.Item) -> bool:
        return item.path.parent.name != "jobs" and "local_ray" not in getattr(item, "fixturenames", ())

    quick = {item.path: True for item in items}
    for item in items:
        quick[item.path] &= is_quick(item)
    items.sort(key=lambda item: quick[item.path])


@pytest.fixture(scope="session", autouse=True)
def tidy_shutdown() -> Iterator[None]:
    """Ray leaves handles of its processes to the garbage collector, which would fail some later test."""
    import ray

    shutdown = ray.shutdown

    def tidied(*args: Any, **kwargs: Any) -> None:
        shutdown(*args, **kwargs)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray, "shutdown", tidied)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and annotation files beside the repository; skips where absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (real photographs and annotation files), which is not here")
    return SHARED


@pytest.fixture(scope="session")
def untrained_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a small recogniser with random weights: it reads nonsense, and always the same."""
    import torch

    from crnn.charset import ALNUM36
    from crnn.checkpoint import Bundle
    from crnn.model import CRNN
    from crnn.networks import NETWORKS
    from crnn.preprocess import PreprocessConfig

    directory, network = tmp_path_factory.mktemp("untrained"), NETWORKS["small"]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        weights = CRNN(network, ALNUM36.num_classes).state_dict()
    geometry = PreprocessConfig(height=network.height)
    Bundle(network=network, charset=ALNUM36, preprocess=geometry, weights=weights).save(directory)
    return directory


@dataclass(frozen=True, kw_only=True)
class S3Server:
    """An S3-protocol server in a child process; see tests/servers.py."""

    url: str

    def order(self, *rules: dict[str, Any]) -> None:
        """Sets the faults from now on, and forgets the requests until now."""
        self._call("/_faults", "POST", json.dumps(rules).encode())

    def requests(self) -> list[tuple[str, str, str]]:
        """Method, path and query of each request since the faults were set."""
        return [tuple(request) for request in json.loads(self._call("/_faults", "GET"))]

    def make_bucket(self, name: str) -> str:
        """The URI of a new bucket."""
        self._call(f"/{name}", "PUT", b"")
        return f"s3://{name}"

    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test-key",
            "AWS_SECRET_ACCESS_KEY": "test-secret",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def _call(self, path: str, method: str, data: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.url + path, data=data, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            body: bytes = answer.read()
            return body


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server that all tests share; use `s3_bucket` to get a bucket of one's own in it."""
    command = [sys.executable, str(Path(__file__).with_name("servers.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port, "the S3 server didn't start"
        yield S3Server(url=f"http://127.0.0.1:{port}")
        process.kill()


@pytest.fixture
def s3_bucket(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URI of a new bucket, reachable through the environment; faults that a test orders end with it."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    yield s3_server.make_bucket(f"bucket-{uuid.uuid4().hex[:12]}")
    s3_server.order()


@pytest.fixture(scope="module")
def local_ray(s3_server: S3Server) -> None:
    """Ray with 4 logical CPUs in this process, whose workers reach the S3 server and don't wait long for it.

    It stays for the modules that come after: starting it takes most of a test's time.
    """
    import ray

    if ray.is_initialized():
        return
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        patch.setenv("STORAGE_PATIENCE_S", "1")
        ray.init(
            address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error"
        )


@pytest.fixture
def no_ray() -> None:
    """Ends the Ray of tests before, for those of what happens without, or beside clusters of their own."""
    import ray

    ray.shutdown()


class MlflowServer:
    """An MLflow server in a child process that can be killed and started again on the same port and files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it unless it runs, and waits until it answers."""
        if self._process is not None:
            return
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        stores = [
            "--backend-store-uri",
            f"sqlite:///{self.folder}/mlflow.db",
            "--artifacts-destination",
            str(self.folder / "artifacts"),
        ]
        with (self.folder / "server.log").open("ab") as log:
            # A session of its own: its web workers die with it. Its job runners are a dozen processes more.
            self._process = subprocess.Popen(
                [*command, *stores, "--workers", "1"],
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            )
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"MLflow didn't start: {(self.folder / 'server.log').read_text()[-2000:]}")

    def kill(self) -> None:
        """Kills it without warning."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def mlflow_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    """A server that all tests share: use `mlflow_server`, and an experiment of one's own."""
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"))
    yield server
    server.kill()


@pytest.fixture
def mlflow_server(mlflow_process: MlflowServer, monkeypatch: pytest.MonkeyPatch) -> MlflowServer:
    """A running MLflow server; the environment's tracking URI names it, and clients give up at once."""
    mlflow_process.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_process.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    return mlflow_process


@pytest.fixture(scope="session")
def matplotlib_fonts() -> Path:
    """The folder of fonts that come with matplotlib: some for text, some for mathematics alone."""
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf"


@pytest.fixture(scope="session")
def small_assets(matplotlib_fonts: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of assets for synthesis, of these fonts and wordfreq's words; not to be changed."""
    from pipeline.synthesis.asset_builder import AssetsConfig, build_assets

    uri = str(tmp_path_factory.mktemp("assets"))
    fonts = (str(matplotlib_fonts),)
    build_assets(uri, AssetsConfig(fonts=fonts, fonts_at_hand=False, packages="none", textures=16))
    return uri


@pytest.fixture(scope="session")
def tiny_assets(matplotlib_fonts: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of assets with five faces, the least for two splits, and few words: made in half a second."""
    from pipeline.synthesis.asset_builder import AssetsConfig, build_assets

    fonts, uri = tmp_path_factory.mktemp("fonts"), str(tmp_path_factory.mktemp("tiny-assets"))
    for name in ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic"):
        shutil.copy(matplotlib_fonts / f"{name}.ttf", fonts)
    config = AssetsConfig(
        fonts=(str(fonts),), fonts_at_hand=False, packages="none", textures=16, language="ms"
    )
    build_assets(uri, config)
    return uri
