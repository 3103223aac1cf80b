"""What a cluster leans on, each on a host of its own: a store, Postgres, MLflow as infra/ runs it."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


class Service:
    """A process on a host."""

    def __init__(
        self, prefix: Sequence[str], command: Sequence[str], log: Path, environment: dict[str, str]
    ) -> None:
        self.log, self.environment = log, environment
        self._command = [*prefix, *command]
        self.start()

    def start(self) -> None:
        """Starts it, at first and again after `stop`."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"], "PYTHONUNBUFFERED": "1"} | self.environment,
                start_new_session=True,
            )

    def wait(self, url: str, patience_s: float = 120.0) -> None:
        """Waits until it answers, with whatever status."""
        end = time.monotonic() + patience_s
        while time.monotonic() < end and self.process.poll() is None:
            try:
                urllib.request.urlopen(url, timeout=5).close()
            except urllib.error.HTTPError:
                return
            except OSError:
                time.sleep(0.3)
            else:
                return
        raise AssertionError(f"{url} doesn't answer: {self.log.read_text()[-2000:]}")

    def stop(self) -> None:
        """Kills it with its children."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        if self.process.stdin is not None:
            self.process.stdin.close()


def store(ip: str, prefix: Sequence[str], folder: Path) -> tuple[Service, str]:
    """An S3-protocol server and its URL."""
    log = folder / "store.log"
    service = Service(prefix, [sys.executable, str(ROOT / "tests/servers.py"), ip], log, {})
    end = time.monotonic() + 60
    while not (port := log.read_text().strip()):
        assert time.monotonic() < end, "the store didn't start"
        time.sleep(0.1)
    return service, f"http://{ip}:{port}"


def postgres(ip: str, prefix: Sequence[str], folder: Path, password: str) -> Service:
    """Debian's Postgres, with a user and a database named mlflow."""
    data, key = folder / "postgres", folder / "password"
    data.mkdir()
    key.write_text(password)
    for path in (folder, data, key):
        shutil.chown(path, "postgres")
    folder.chmod(0o755)
    user = ["runuser", "-u", "postgres", "--"]
    binaries = BINARIES[-1]
    flags = ["--username=mlflow", f"--pwfile={key}", "--auth=scram-sha-256"]
    subprocess.run(
        [*user, str(binaries / "initdb"), "-D", str(data), *flags], check=True, capture_output=True
    )
    with (data / "pg_hba.conf").open("a") as file:
        file.write("host all all samenet scram-sha-256\n")
    command = [str(binaries / "postgres"), "-D", str(data), "-h", ip, "-k", str(data)]
    service = Service([*prefix, *user], command, folder / "postgres.log", {})
    connect = [*prefix, str(binaries / "psql"), "-h", ip, "-U", "mlflow", "-d", "postgres"]
    end = time.monotonic() + 60
    while True:
        done = subprocess.run(
            [*connect, "-c", "create database mlflow"],
            env=os.environ | {"PGPASSWORD": password},
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return service
        assert time.monotonic() < end, done.stderr.decode()
        time.sleep(0.3)


def mlflow(
    ip: str, prefix: Sequence[str], folder: Path, secret: dict[str, str], aws: dict[str, str]
) -> Service:
    """The server with the flags and variables that infra/mlflow gives it, at Postgres on the same host."""
    told = yaml.safe_load((ROOT / "infra/mlflow/compose.yaml").read_text())["services"]["mlflow"]
    flags = [
        flag.replace("mlflow:5000", f"{ip}:5000").replace("@postgres:", f"@{ip}:") for flag in told["command"]
    ]
    flags = [flag.replace("--workers=2", "--workers=1") for flag in flags]
    plain = {name: value for name, value in told["environment"].items() if not value.startswith("${")}
    login = folder / "basic_auth.ini"
    login.write_text((ROOT / "infra/image/basic_auth.ini").read_text().replace("@postgres:", f"@{ip}:"))
    secrets_of_it = {
        "PGPASSWORD": secret["database"],
        "MLFLOW_AUTH_ADMIN_PASSWORD": secret["admin"],
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
        "MLFLOW_AUTH_CONFIG_PATH": str(login),
        "MLFLOW_S3_ENDPOINT_URL": aws["AWS_ENDPOINT_URL"],
        "HOME": str(folder),
    }
    environment = plain | aws | secrets_of_it
    service = Service(prefix, [sys.executable, "-m", *flags], folder / "mlflow.log", environment)
    service.wait(f"http://{ip}:5000/health")
    return service
