"""Jobs on a cluster of several hosts, handed over with its token, while hosts die and links break."""

import itertools
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from crnn.recognizer import Recognizer
from jobs.runtime import ExitCode
from pipeline.nightly.table import TranscriptTable
from pipeline.registry import register_bundle, set_alias
from pipeline.storage import list_objects, read_bytes, write_atomic
from tests.cluster.conftest import PROVED, Place
from tests.cluster.hosts import on
from tests.datasets import png, printed, word_rows, write_data_set
from tests.rays import kill

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
IMAGES = 240


def until(ready: Callable[[], bool], submitted: "subprocess.Popen[str]", patience_s: float = 240.0) -> None:
    """Waits until something is so while a job runs."""
    end = time.monotonic() + patience_s
    while not ready():
        assert submitted.poll() is None, submitted.communicate()[0]
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.2)


def ended(submitted: "subprocess.Popen[str]", patience_s: float = 400.0) -> tuple[int, str]:
    told = submitted.communicate(timeout=patience_s)[0]
    return submitted.returncode, told


@pytest.fixture(scope="module")
def pictures(place: Place) -> dict[str, bytes]:
    """Images in the bucket, by key."""
    pictures = {f"{n % 7}/{n:03d}.png": png(printed(f"w{n}", n)) for n in range(IMAGES)}
    for key, data in pictures.items():
        write_atomic(f"s3://images/new/{key}", data)
    return pictures


@pytest.fixture(scope="module")
def expected(place: Place, pictures: dict[str, bytes], untrained_bundle: Path) -> dict[str, str]:
    """What the champion reads in each, alone and undisturbed."""
    version = register_bundle(untrained_bundle, "crnn", tracking_uri=place.environment["MLFLOW_TRACKING_URI"])
    set_alias("crnn", "champion", version, tracking_uri=place.environment["MLFLOW_TRACKING_URI"])
    read = Recognizer.load(untrained_bundle)([pictures[key] for key in sorted(pictures)])
    return {key: reading.text for key, reading in zip(sorted(pictures), read, strict=True)}


def transcribe(place: Place, run: str) -> "subprocess.Popen[str]":
    """Hands a night over; each has an output of its own, so that each has everything to do."""
    flags = ["--input", "s3://images/new", "--output", f"s3://results/{run}", "--run", run]
    sizes = ["--shard-rows", "8", "--lease-s", "10", "--least-confidence", "0"]
    return place.cluster.submit(run, "python", str(ROOT / "jobs/transcribe.py"), *flags, *sizes)


def commits(run: str) -> list[str]:
    """The records of the finished shards."""
    return [stored.uri for stored in list_objects(f"s3://results/{run}/runs/{run}/done")]


def texts(run: str) -> dict[str, str]:
    """What readers of the table see."""
    rows = TranscriptTable(f"s3://results/{run}").rows().to_table().to_pylist()
    found = {row["key"]: row["text"] for row in rows}
    assert len(found) == len(rows), "an object has two rows"
    return found


def test_nobody_comes_in_from_another_host_without_the_token(place: Place) -> None:
    outside = place.hosts["w1"].prefix
    for path in ("/api/jobs/", "/api/version", "/nodes?view=summary", "/logical/actors"):
        curl = "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=10).status)"
        done = on(outside, sys.executable, "-c", curl, place.cluster.address + path)
        assert "401" in done.stderr, f"{path}: {done.stdout}{done.stderr}"
    join = f"import ray; ray.init('{place.cluster.host.ip}:6379'); print(ray.nodes())"
    for token in ("", "0" * 64):
        environment = place.cluster.client() | {"RAY_AUTH_TOKEN": token} if token else place.cluster.client()
        environment |= {} if token else {"RAY_AUTH_MODE": "disabled"}
        done = on(outside, sys.executable, "-c", join, environment=environment)
        assert done.returncode != 0, done.stdout
        assert re.search("(?i)unauthenticated|authentication|token", done.stderr), done.stderr
    submitted = place.cluster.submit("stranger", "true", environment={"RAY_AUTH_TOKEN": "0" * 64})
    assert ended(submitted)[0] == ExitCode.BAD_CONFIG
    PROVED.append(("no token, wrong token", "dashboard, jobs API and GCS refuse from another host"))


def test_a_night_survives_a_host_that_dies_and_one_that_is_cut_off(
    place: Place, expected: dict[str, str]
) -> None:
    place.whole()
    submitted = transcribe(place, "night-1")
    until(lambda: len(commits("night-1")) >= 2, submitted)
    kill(place.hosts["w1"])
    done = len(commits("night-1"))
    until(lambda: len(commits("night-1")) > done, submitted)
    place.network.cut("w2")
    code, told = ended(submitted)
    assert code == ExitCode.OK, told
    assert texts("night-1") == expected
    PROVED.append(
        (
            "night: w1 killed, w2 cut off",
            f"exit 0, {len(expected)} of {len(expected)} rows, texts as undisturbed",
        )
    )


def test_a_night_whose_head_dies_is_taken_up_after_its_restart(
    place: Place, expected: dict[str, str]
) -> None:
    place.whole()
    submitted = transcribe(place, "night-2")
    until(lambda: len(commits("night-2")) >= 2, submitted)
    for host in (place.cluster.host, *place.hosts.values()):
        kill(host)
    code, told = ended(submitted)
    assert code == ExitCode.FAILED, told
    assert "submit again" in told
    early = {uri: read_bytes(uri) for uri in commits("night-2")}
    assert len(early) < IMAGES // 8
    place.whole()
    code, told = ended(transcribe(place, "night-2"))
    assert code == ExitCode.OK, told
    assert texts("night-2") == expected
    assert all(read_bytes(uri) == data for uri, data in early.items())
    PROVED.append(
        ("night: head killed, restarted", f"exit 1, then 0; {len(early)} finished shards kept as they were")
    )


def test_training_survives_mlflow_gone_and_a_worker_s_host_dying(place: Place) -> None:
    from mlflow import MlflowClient

    words = [f"{'abcdefgh'[n % 8]}{n}" for n in range(768)]
    write_data_set("s3://words/train", word_rows(words), shard_rows=128)
    write_data_set("s3://words/held-out", word_rows(words[:64], "held-out"), shard_rows=64)
    place.whole()
    flags = "--data s3://words/train --validation held_out=s3://words/held-out --output s3://results/runs"
    sizes = "--workers 2 --images 4608 --save-every 768 --window-rows 256 --pack-columns 1600 --log-every 4"
    named = ["demo", "--name", "t1", "--register-as", "other"]
    command = ["python", str(ROOT / "jobs/train.py"), *named, *flags.split(), *sizes.split()]
    submitted = place.cluster.submit("train-1", *command)
    until(lambda: any("checkpoint_" in s.key for s in list_objects("s3://results/runs")), submitted)
    hosts = place.cluster.hosting("ray::RayTrainWorker")
    assert len(hosts) == 2, "not one training worker on each of two hosts"
    place.network.cut("mlflow")
    time.sleep(10)
    kill(hosts[0])
    time.sleep(20)
    place.network.mend("mlflow")
    code, told = ended(submitted)
    assert code == ExitCode.OK, told
    client = MlflowClient(place.environment["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("crnn")
    (run,) = client.search_runs([experiment.experiment_id], "tags.`crnn.run` = 't1'")
    assert run.info.status == "FINISHED"
    steps = [point.step for point in client.get_metric_history(run.info.run_id, "train/loss")]
    assert len(steps) > 10
    assert steps == sorted(set(steps)), "a point twice, or out of order"
    assert max(b - a for a, b in itertools.pairwise(steps)) == 4, "the outage left a gap"
    PROVED.append(
        (
            "training on 2 hosts: MLflow cut off 30 s, one host killed",
            f"exit 0; {len(steps)} points, each once, no gap",
        )
    )


def test_no_secret_is_seen_anywhere(place: Place) -> None:
    place.whole()
    shown = {"jobs API": place.cluster.get("/api/jobs/")}
    shown |= {str(path): path.read_bytes() for path in place.cluster.folder.rglob("*") if path.is_file()}
    for bucket in ("results", "mlflow", "words"):
        shown |= {stored.uri: read_bytes(stored.uri) for stored in list_objects(f"s3://{bucket}")}
    assert len(shown) > 100
    seen = {
        where: canary[:12]
        for where, text in shown.items()
        for canary in place.canaries
        if canary.encode() in text
    }
    assert seen == {}
    PROVED.append(
        ("four canary secrets", f"in none of {len(shown)} logs, results, artifacts and job records")
    )
