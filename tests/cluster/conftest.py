"""The place that the scenarios share, and a table of what each proved."""

import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.cluster.hosts import Network, unavailable, with_disk
from tests.cluster.services import BINARIES, Service, mlflow, postgres, store
from tests.rays import Host, RayCluster, kill, processes

PROVED: list[tuple[str, str]] = []
WORKERS = ("w1", "w2", "w3")


@dataclass
class Place:
    """A Ray head, three workers, a store and MLflow, each on a host of its own."""

    network: Network
    cluster: RayCluster
    environment: dict[str, str]
    """What jobs need to reach store and MLflow; the nodes have it, and nobody else."""
    folder: Path
    """Of the services' logs and data."""
    mlflow: Service
    mlflow_ip: str
    mlflow_prefix: list[str]
    """What commands on MLflow's host begin with, Postgres' too."""
    secrets: dict[str, str]
    """All that must never be shown, by what they are for."""
    hosts: dict[str, Host] = field(default_factory=dict)

    def whole(self) -> None:
        """Starts what isn't running, and waits until every node has joined."""
        if self.cluster.host.process is None:
            self.cluster.start(num_cpus=0)
        for name in WORKERS:
            self._join(self.hosts[name])

    def begin_again(self) -> None:
        """Kills the head and all workers, and starts a new cluster in their place."""
        for host in (*self.hosts.values(), self.cluster.host):
            kill(host)
        self.cluster.workers.clear()
        self.whole()

    def at_work(self, names: tuple[str, ...]) -> dict[str, Host]:
        """Workers that run processes whose names begin so."""
        return {
            name: host
            for name, host in self.hosts.items()
            if any(told.startswith(names) for told in processes(host).values())
        }

    def _join(self, host: Host) -> None:
        """Starts a worker unless it runs; one that a busy machine keeps from joining is tried again."""
        for _ in range(5):
            if host.process is None or host.process.poll() is not None:
                kill(host)
                # A machine that takes another's place has fetched nothing yet.
                host.environment = {"XDG_CACHE_HOME": tempfile.mkdtemp(dir=self.folder / "disks")}
                self.cluster.workers = [h for h in self.cluster.workers if h is not host]
                self.cluster.add(host, num_cpus=2)  # with one, the recogniser would leave readers none
            end = time.monotonic() + 60
            while host.process.poll() is None and time.monotonic() < end:
                if host.ip in self.cluster.alive():
                    return
                time.sleep(0.5)
        raise AssertionError(
            f"{host.ip} doesn't join: {(self.cluster.folder / 'nodes.log').read_text()[-2000:]}"
        )


@pytest.fixture(scope="session")
def place() -> Iterator[Place]:
    reason = unavailable()
    if reason:
        pytest.skip(reason)
    if not BINARIES:
        pytest.skip("needs Postgres (Debian: apt install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="crnn-cluster-"))
    network, services = Network(), []
    cluster = None
    try:
        network.open()
        ip, prefix = network.add("store")
        service, url = store(ip, prefix, folder)
        services.append(service)
        aws = {
            "AWS_ENDPOINT_URL": url,
            "AWS_ACCESS_KEY_ID": "test-key",
            "AWS_SECRET_ACCESS_KEY": canary(),
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        os.environ.update(aws)  # of this process too, which looks at what the jobs wrote
        make_buckets("mlflow")
        ip, prefix = network.add("mlflow")
        mlflow_ip, mlflow_prefix = ip, prefix
        secret = {"database": canary(), "admin": canary()}
        services.append(postgres(ip, prefix, folder, secret["database"]))
        services.append(mlflow(ip, prefix, folder, secret, aws))
        environment = aws | {
            "MLFLOW_TRACKING_URI": f"http://{ip}:5000",
            "MLFLOW_TRACKING_USERNAME": "admin",
            "MLFLOW_TRACKING_PASSWORD": secret["admin"],
            "XDG_CACHE_HOME": str(folder / "cache"),
            "GLOO_SOCKET_IFNAME": "eth0",  # the hosts have one name, which means loopback to each
        }
        os.environ.update(environment)
        ip, prefix = network.add("head")
        cluster = RayCluster(
            host=Host(ip=ip, prefix=prefix),
            environment=environment,
            port=6379,
            dashboard=8265,
        )
        place = Place(
            network=network,
            cluster=cluster,
            environment=environment,
            folder=folder,
            mlflow=services[-1],
            mlflow_ip=mlflow_ip,
            mlflow_prefix=mlflow_prefix,
            secrets=secret | {"store": aws["AWS_SECRET_ACCESS_KEY"], "Ray": cluster.token},
        )
        for name in WORKERS:
            ip, prefix = network.add(name)
            disk = folder / "disks" / name
            disk.mkdir(parents=True)
            place.hosts[name] = Host(ip=ip, prefix=[*prefix, *with_disk(disk, cluster.folder)])
        place.whole()
        yield place
    finally:
        if cluster is not None:
            cluster.stop()
        for service in reversed(services):
            service.stop()
        network.close()
        shutil.rmtree(folder, ignore_errors=True)


def canary() -> str:
    """A secret that looks different where it is quoted for a URL."""
    return f"/{secrets.token_hex(12)}+="


def make_buckets(*names: str) -> None:
    from pipeline.stores.s3 import S3Store

    store = S3Store()
    for name in names:
        store._call(f"s3://{name}", "make", lambda s3, name=name: s3.create_bucket(Bucket=name))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was proved, as a table."""
    from jobs.cli import table

    if PROVED:
        terminalreporter.write_line("\n" + table(("scenario", "what it proved"), PROVED))
