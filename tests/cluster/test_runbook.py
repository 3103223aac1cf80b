"""infra/README.md followed line by line on the hosts, as far as that needs no Kubernetes."""

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from jobs.runtime import ExitCode
from pipeline.mlflow_run import find_run, mlflow_client
from pipeline.registry import register_bundle, resolve_model, set_alias
from pipeline.storage import write_atomic
from pipeline.transcripts import finished_shards
from tests.cluster.conftest import PROVED, Place, canary, make_buckets
from tests.cluster.faults import slow_store, until
from tests.cluster.services import BINARIES
from tests.datasets import png, printed
from tests.rays import ROOT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

RUNBOOK = ROOT / "infra/README.md"
PROGRAMS = "alter|docker|install|journalctl|kubectl|make|mlflow|pg_dump|pg_restore|python|ray|systemctl|umask"
LEFT_OUT = {
    "docker build": "builds the images",
    "export RAY_AUTH_MODE=token": "the token is in `place.cluster.client()`",
    "install -m 644 infra/machine": "systemd",
    "journalctl": "systemd",
    "kubectl": "Kubernetes' control plane; what it runs in a pod is followed",
    "make cluster-test": "this",
    "make setup": "made the environment that this runs in",
    "ray job submit": "tests/test_submitted.py does it",
    "ray dashboard infra/aws": "AWS",
    "ray up": "AWS",
    "systemctl": "systemd",
}
"""Beginnings of what nobody follows here, and why."""
SMALL = {
    "jobs/assets.py": "--textures 16",
    "jobs/synthesize.py": "--rows 40 --shard-rows 20",
    "jobs/train.py": "--network tiny --images 40 --window-rows 20 --pack-columns 1024 --log-every 1",
    "jobs/transcribe.py": "--shard-rows 4",
}
"""What is said besides, for the size of it."""


class Book:
    """The runbook's commands, of which each has to be taken."""

    def __init__(self) -> None:
        text = RUNBOOK.read_text()
        blocks = re.findall(r"^ *```sh\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
        lines = [line.strip() for b in blocks for line in re.sub(r"\\\n\s*", "", b).splitlines()]
        prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
        said = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose)]
        self.left = [*lines, *(s for s in said if re.match(rf"({PROGRAMS}) \S", s))]

    def take(self, *signs: str) -> str:
        """The next command with all of these in it."""
        found = next(command for command in self.left if all(sign in command for sign in signs))
        self.left.remove(found)
        return found

    def in_pod(self, *signs: str) -> str:
        """The same of one that Kubernetes is to run in a pod: what it runs there."""
        return self.take("kubectl", *signs).partition(" -- ")[2]

    def close(self) -> None:
        """Makes sure that what is left is left out on purpose, and that the reasons for that aren't stale."""
        forgotten = [c for c in self.left if " -- " in c or not c.startswith(tuple(LEFT_OUT))]
        assert not forgotten, f"nobody follows {forgotten}"
        stale = [start for start in LEFT_OUT if not any(c.startswith(start) for c in self.left)]
        assert not stale, f"the runbook says no more: {stale}"


def test_the_runbook_does_what_it_says(place: Place, untrained_bundle: Path, tmp_path: Path) -> None:
    place.whole()
    make_buckets("runbook")
    book, operator = Book(), Operator(place, tmp_path)
    version = register_bundle(untrained_bundle, "crnn")
    set_alias("crnn", "champion", version)
    look_at_the_place(operator, book)
    make_a_champion(operator, book)
    stop_and_resume(operator, book)
    told = operator.runs(book.take("set_alias").replace("'2'", f"'{version}'"))
    assert f"crnn version {version} " in told
    assert resolve_model("models:/crnn@champion").version == version
    back_up_and_restore(operator, book)
    book.close()
    PROVED.append(("the runbook line by line", "from the doctor to a database that is put back"))


def look_at_the_place(operator: "Operator", book: Book) -> None:
    """A token of one's own, and the doctor where the head is."""
    token = operator.runs(f"unset RAY_AUTH_TOKEN; {book.take('ray get-auth-token --generate')}")
    kept = operator.home / ".ray/auth_token"
    assert kept.read_text() in token
    assert kept.stat().st_mode & 0o077 == 0
    doctor = book.in_pod("jobs/doctor.py").replace("/opt/crnn", str(ROOT))
    place = operator.place
    settings = place.environment | {"CRNN_TRANSCRIPTS": "s3://runbook/transcripts"}
    assert "All is well" in operator.runs_on(place.cluster.host.prefix, doctor, settings)


def make_a_champion(operator: "Operator", book: Book) -> None:
    """Assets, data, a training, and its model in the champion's place."""
    for job in ("jobs/assets.py", "jobs/synthesize.py", "--split validation", "jobs/train.py"):
        operator.runs(book.take("jobs/submit.py", job))
    told = operator.runs(book.take("jobs/evaluate.py --model"))
    assert re.search(r"models:/crnn@champion is version \d+ now", told), told


def stop_and_resume(operator: "Operator", book: Book) -> None:
    """A transcription that is stopped in its middle, and the same command again."""
    place, command = operator.place, book.take("jobs/transcribe.py")
    for n in range(40):
        write_atomic(f"s3://runbook/photographs/{n}.png", png(printed(f"word {n}", n)))
    with slow_store(place, "/photographs/"):
        job = operator.begins(command)
        until(lambda: list(finished_shards("s3://runbook/transcripts/runs/photos-1")), job)
        operator.runs(book.take("ray job stop").replace("ID", "photos-1"))
        told = job.communicate(timeout=200)[0]
    assert job.returncode == ExitCode.TERMINATED, told[-3000:]
    told = operator.runs(command)
    assert re.search(r"rows +40 of 40 owed", told), told
    assert re.search(r"done before +[1-9]", told), told
    assert "RUNNING" not in operator.runs(book.take("ray job list"))


def back_up_and_restore(operator: "Operator", book: Book) -> None:
    """MLflow's database kept, given another password, upgraded, and put back as it was."""
    place, later = operator.place, canary()
    client = mlflow_client(place.environment["MLFLOW_TRACKING_URI"])
    login = {"PGHOST": place.mlflow_ip, "PGPASSWORD": place.secrets["database"]}

    def on_its_host(command: str) -> None:
        operator.runs_on(place.mlflow_prefix, command.replace("@postgres:", f"@{place.mlflow_ip}:"), login)

    on_its_host(book.in_pod("pg_dump"))
    client.set_registered_model_tag("crnn", "since", "the backup")
    change = book.take("alter role").replace("…", later)
    on_its_host(f"psql --username mlflow --command {shlex.quote(change)}")
    login["PGPASSWORD"] = place.secrets["database, later"] = later
    place.mlflow.stop()
    on_its_host(book.take("mlflow db upgrade"))
    on_its_host(book.in_pod("pg_restore"))
    place.mlflow.environment["PGPASSWORD"] = later
    place.mlflow.start()
    place.mlflow.wait(f"http://{place.mlflow_ip}:5000/health")
    assert "since" not in client.get_registered_model("crnn").tags
    trained = find_run(client, "crnn", "paper-1")
    assert trained is not None
    assert trained.info.status == "FINISHED"


class Operator:
    """Somebody at a machine of their own, with the runbook and the token."""

    def __init__(self, place: Place, home: Path) -> None:
        self.place, self.home = place, home

    def runs(self, command: str, *, code: int = ExitCode.OK) -> str:
        """Carries a command out; what it printed."""
        process = self.begins(command)
        told = process.communicate(timeout=400)[0]
        assert process.returncode == code, f"{command}: {process.returncode}\n{told[-3000:]}"
        return told

    def begins(self, command: str) -> "subprocess.Popen[str]":
        """Starts a command at this machine, in the project's folder."""
        return self._start((), here(self.place, command), self.place.cluster.client())

    def runs_on(self, prefix: list[str], command: str, environment: dict[str, str]) -> str:
        """Carries out on a host what Kubernetes would in its pod."""
        path = f"{BINARIES[-1]}:{self.place.cluster.client()['PATH']}"
        process = self._start(prefix, command, self.place.cluster.client() | environment | {"PATH": path})
        told = process.communicate(timeout=200)[0]
        assert process.returncode == 0, f"{command}: {process.returncode}\n{told[-3000:]}"
        return told

    def _start(
        self, prefix: Sequence[str], command: str, environment: dict[str, str]
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*prefix, "sh", "-c", f"cd {ROOT if not prefix else self.home} && {command}"],
            env=environment | {"HOME": str(self.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def here(place: Place, command: str) -> str:
    """A command with this place's names and sizes; there is no GPU."""
    command = command.replace("BUCKET", "runbook").replace(" --gpu", "")
    for program in ("python jobs/submit.py", "ray job list", "ray job stop"):
        command = command.replace(program, f"{program} --address {place.cluster.address}")
    return " ".join([command, *(flags for job, flags in SMALL.items() if job in command)])
