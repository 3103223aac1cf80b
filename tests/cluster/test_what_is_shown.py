"""No secret is shown by what the scenarios leave: logs, jobs API, MLflow, buckets, command lines."""

import io
import json
import subprocess
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.runtime import ExitCode
from pipeline.mlflow_run import mlflow_client
from pipeline.storage import list_objects, parquet_bytes, read_bytes, write_atomic
from pipeline.stores.s3 import S3Store
from tests.cluster.conftest import PROVED, Place
from tests.cluster.services import BINARIES
from tests.rays import processes

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

APIS = ("/api/jobs/", "/api/version", "/nodes?view=summary", "/logical/actors", "/api/v0/tasks?detail=1")
LEFT = ("job-driver-", "/api/jobs/", "s3://training", "s3://runbook/transcripts/table", "s3://runbook/runs")
"""What must be there to be looked at: the scenarios before have run."""


def test_no_secret_is_shown_and_one_that_were_would_be_found(place: Place) -> None:
    shown = dict(texts(place))
    missing = [sign for sign in LEFT if not any(sign in where for where in shown)]
    assert not missing, f"run the whole of tests/cluster: nothing was left at {missing}"
    assert secrets_in(place, shown) == set()
    PROVED.append(("secrets in logs, MLflow, buckets, APIs", f"none in {len(shown):,} files and answers"))

    leak = place.cluster.submit("leak", "sh", "-c", 'printf "me:%s" "$MLFLOW_TRACKING_PASSWORD" | base64')
    told = leak.communicate(timeout=120)[0]
    assert leak.returncode == ExitCode.OK, told
    row = pa.table({"text": [quote(place.secrets["store"], safe="")]})
    write_atomic("s3://mlflow/leak.parquet", parquet_bytes(row, compression="zstd"))
    client = mlflow_client(place.environment["MLFLOW_TRACKING_URI"])
    client.set_registered_model_tag("crnn", "leak", place.secrets["database"])
    with (place.cluster.folder / "nodes.log").open("a") as log:
        log.write(f"Authorization: Bearer {place.secrets['Ray']}\n")
    found = secrets_in(place, dict(texts(place)))
    assert {("admin", "job-driver-leak.log"), ("admin", "logs")} <= found
    assert {("store", "leak.parquet"), ("database", "MLflow's database"), ("Ray", "nodes.log")} <= found
    PROVED.append(("secrets planted there", "each of them is found"))


def texts(place: Place) -> Iterator[tuple[str, bytes]]:
    """All that people and programs get to see, by where."""
    disks = place.folder / "disks"
    for path in (*place.cluster.folder.rglob("*"), *disks.rglob("*"), *place.folder.glob("*.log")):
        if path.is_file():
            yield str(path), path.read_bytes()
    for api in APIS:
        yield api, place.cluster.get(api)
    for job in json.loads(place.cluster.get("/api/jobs/")):
        if job["submission_id"]:
            api = f"/api/jobs/{job['submission_id']}/logs"
            yield api, json.loads(place.cluster.get(api))["logs"].encode()
    for host in (place.cluster.host, *place.hosts.values()):
        for pid, command in processes(host).items():
            yield f"command line {pid}", command.encode()
    yield "MLflow's database", database(place)
    answer = S3Store()._call("s3://mlflow", "list", lambda s3: s3.list_buckets())
    for bucket in answer["Buckets"]:
        for stored in list_objects(f"s3://{bucket['Name']}"):
            uri = f"s3://{bucket['Name']}/{stored.key}"
            data = read_bytes(uri)
            if uri.endswith(".parquet"):  # its values are compressed
                data += repr(pq.read_table(io.BytesIO(data)).to_pydict()).encode()
            yield uri, data


def database(place: Place) -> bytes:
    """Everything that MLflow has of runs and models, as text."""
    login = {"PGHOST": place.mlflow_ip, "PGPASSWORD": place.mlflow.environment["PGPASSWORD"]}
    command = [*place.mlflow_prefix, str(BINARIES[-1] / "pg_dump"), "--username", "mlflow", "mlflow"]
    return subprocess.run(command, env=login, capture_output=True, check=True).stdout


def secrets_in(place: Place, shown: dict[str, bytes]) -> set[tuple[str, str]]:
    """Which secrets are there in whatever form, each with the last part of where."""
    return {
        (name, where.rpartition("/")[2])
        for name, secret in place.secrets.items()
        for where, text in shown.items()
        if any(form in text for form in forms(secret))
    }


def forms(secret: str) -> set[bytes]:
    """A secret as it is, quoted for a URL, and as part of whatever is written in base64."""
    plain = secret.encode()
    found = {plain, quote(secret, safe="").encode()}
    for before in range(3):  # bytes, of what comes before it, in its first group of three
        whole = slice(-(-8 * before // 6), 8 * (before + len(plain)) // 6)  # free of the neighbours' bits
        for encode in (b64encode, urlsafe_b64encode):
            found.add(encode(bytes(before) + plain)[whole])
    return found
