"""Real Ray clusters of several nodes for tests: on this machine, or each node in a network namespace."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parents[1]
RAY = str(Path(sys.executable).with_name("ray"))
PATIENCE_S = 90.0
MARKER = "TEST_NODE"
NIGHTLY = ("ray::MapWorker(MapBatches(PackAndRecognise", "ray::MapBatches(")
"""What the names of processes begin with that read or recognise for a night right now."""


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(kw_only=True)
class Host:
    """Where a node runs."""

    ip: str = "127.0.0.1"
    prefix: Sequence[str] = ()
    """What its commands begin with, such as ip netns exec NAME."""
    name: str = field(default_factory=lambda: secrets.token_hex(8))
    """Marks its processes."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Its own, beside the cluster's."""
    process: "subprocess.Popen[bytes] | None" = None


@dataclass(kw_only=True)
class RayCluster:
    """A head and workers. Nothing of it is left after `stop`."""

    host: Host = field(default_factory=Host)
    """The head's."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Of the nodes, and so of jobs: what pods get from secrets and settings."""
    token: str = field(default_factory=lambda: secrets.token_hex(32))
    port: int = field(default_factory=free_port)
    dashboard: int = field(default_factory=free_port)
    workers: list[Host] = field(default_factory=list)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ray-")))
    """Short, for the paths of Ray's sockets must be."""

    @property
    def address(self) -> str:
        """The dashboard's."""
        return f"http://{self.host.ip}:{self.dashboard}"

    def client(self) -> dict[str, str]:
        """The environment of somebody who may use it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "AWS_", "MLFLOW_"))}
        token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "RAY_USAGE_STATS_ENABLED": "0"}
        # What a cluster's image has: our Python first, and the project.
        path = f"{Path(sys.executable).parent}:{kept['PATH']}"
        return kept | token | {"PYTHONPATH": str(ROOT), "PATH": path}

    def start(self, num_cpus: int = 2) -> None:
        """Starts the head, and waits until it is alive."""
        flags = [
            "--head",
            f"--port={self.port}",
            f"--dashboard-host={self.host.ip}",
            f"--dashboard-port={self.dashboard}",
        ]
        self._start(self.host, num_cpus, flags)
        self.wait()

    def add(self, host: Host, num_cpus: int = 2) -> Host:
        """Starts a worker node, which joins by itself."""
        self._start(host, num_cpus, [f"--address={self.host.ip}:{self.port}"])
        self.workers.append(host)
        return host

    def join(self, host: Host, num_cpus: int = 2) -> Host:
        """Adds a worker node and waits until it is there; one that hangs at its start is tried again. On one
        machine nodes join one after the other: those that start at once take each other's ports."""
        before = len(self.alive())
        for _ in range(3):
            self.add(host, num_cpus)
            end = time.monotonic() + PATIENCE_S / 3
            while host.process is not None and host.process.poll() is None and time.monotonic() < end:
                if len(self.alive()) > before:
                    return host
                time.sleep(0.3)
            kill(host)
            self.workers.remove(host)
        raise AssertionError(f"no node joins: {(self.folder / 'nodes.log').read_text()[-3000:]}")

    def _start(self, host: Host, num_cpus: int, flags: Sequence[str]) -> None:
        command = [RAY, "start", f"--node-ip-address={host.ip}", f"--num-cpus={num_cpus}", "--block"]
        command += ["--object-store-memory=150000000", "--include-log-monitor=False"]
        # The one port that isn't any free one by default: another Ray on this machine may have it.
        command.append(f"--dashboard-agent-listen-port={free_port()}")
        if "--head" in flags:
            command.append(f"--temp-dir={self.folder}")
        environment = self.client() | {"RAY_JOB_STOP_WAIT_TIME_S": "30", MARKER: host.name}
        # The nodes have the machine's memory, and would end their work for what others take of it.
        environment |= {"RAY_memory_monitor_refresh_ms": "0"}
        environment |= {**self.environment, **host.environment}
        with (self.folder / "nodes.log").open("ab") as log:
            host.process = subprocess.Popen(
                [*host.prefix, *command, *flags],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, nodes: int = 1) -> None:
        """Waits until the head, or so many nodes with it, are alive."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            if len(self.alive()) >= nodes:
                return
            time.sleep(0.3)
        raise AssertionError(f"no {nodes} nodes: {(self.folder / 'nodes.log').read_text()[-3000:]}")

    def alive(self) -> list[str]:
        """Addresses of the nodes that the dashboard lists as alive, of each one."""
        try:
            summary = json.loads(self.get("/nodes?view=summary"))["data"]["summary"]
        except (OSError, KeyError, ValueError):  # it is just starting
            return []
        alive = [node for node in summary if node["raylet"].get("state") == "ALIVE"]
        return [node["ip"] for node in alive if "ip" in node]  # a new node tells its address a little later

    def get(self, path: str, token: str | None = "") -> bytes:
        """What the dashboard answers; with the cluster's token unless another, or none, is given."""
        token = self.token if token == "" else token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.address + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            body: bytes = answer.read()
            return body

    def submit(
        self,
        name: str,
        *entry: str,
        working_dir: Path | None = None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> "subprocess.Popen[str]":
        """Hands a job over as a person or a scheduler does, in a process of its own."""
        flags = [f"--address={self.address}", f"--name={name}", "--grace-s=30", "--patience-s=60"]
        flags += [f"--working-dir={working_dir}"] if working_dir else []
        return subprocess.Popen(
            [*self.host.prefix, sys.executable, str(ROOT / "jobs/submit.py"), *flags, "--", *entry],
            env=self.client() | dict(environment),
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def stop(self) -> None:
        """Kills every node and removes what they wrote."""
        for host in (*self.workers, self.host):
            kill(host)
        shutil.rmtree(self.folder, ignore_errors=True)


def kill(host: Host) -> None:
    """Kills a node with all its processes, drivers and orphans too, without warning."""
    if host.process is None:
        return
    for _ in range(2):  # some may just be starting
        for pid in processes(host):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    host.process.wait()
    host.process = None


def processes(host: Host) -> dict[int, str]:
    """Command lines of a node's processes, drivers and orphans too, by their ids."""
    marker, found = f"\0{MARKER}={host.name}\0".encode(), {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if marker in b"\0" + (folder / "environ").read_bytes():
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
    return found
