"""Training on several hosts: one dies, one is cut off, MLflow is out of reach."""

import time
from collections import Counter

import pytest

from jobs.runtime import ExitCode
from pipeline.mlflow_run import find_run, mlflow_client
from pipeline.runs import CheckpointFiles, finished, latest_position
from tests.cluster.conftest import PROVED, Place, make_buckets
from tests.cluster.faults import OUT_OF_REACH_S, lose_two, until
from tests.datasets import word_rows, write_data_set
from tests.rays import ROOT, kill

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

TRAINS = ("ray::RayTrainWorker",)


def test_training_on_several_hosts_ends_exactly_whatever_they_suffer(place: Place) -> None:
    place.whole()
    make_buckets("training")
    words = word_rows([f"{'abc'[: i % 4]}{i}" for i in range(80)])
    write_data_set("s3://training/train", words, shard_rows=40)
    write_data_set("s3://training/held_out", words[::10], shard_rows=40)
    run = "s3://training/runs/run"
    flags = [
        "demo",
        "--name",
        "run",
        "--workers",
        "2",
        "--register-as",
        "crnn",
        "--output",
        "s3://training/runs",
    ]
    flags += ["--start-from", "None", "--network", "tiny", "--charset", "alnum36"]
    flags += ["--data", "s3://training/train", "--validation", "words=s3://training/held_out"]
    flags += ["--images", "400", "--window-rows", "40", "--pack-columns", "1024"]
    flags += ["--save-every", "40", "--log-every", "1", "--max-failures", "6"]
    job = place.cluster.submit("training", "python", str(ROOT / "jobs/train.py"), *flags)
    cut = None
    try:
        until(lambda: latest_position(run), job)
        place.network.cut("mlflow")
        silent_since, before = time.monotonic(), latest_position(run)
        cut = lose_two(place, TRAINS, job, lambda: latest_position(run) != before)
        time.sleep(max(0.0, silent_since + OUT_OF_REACH_S - time.monotonic()))
        place.network.mend("mlflow")
        told = job.communicate(timeout=600)[0]
    finally:
        for name in ("mlflow", *place.hosts):
            place.network.mend(name)
        if cut is not None:
            kill(place.hosts[cut])
    assert job.returncode == ExitCode.OK, told[-3000:]
    done = finished(run)
    assert done is not None
    assert done.images_seen == 400
    points = CheckpointFiles.at(done.last_uri).history()
    assert set(Counter((p.key, p.step) for p in points).values()) == {1}
    client = mlflow_client(place.environment["MLFLOW_TRACKING_URI"])
    entry = find_run(client, "crnn", "run")
    assert entry is not None
    assert entry.info.status == "FINISHED"
    for key in ("train/loss", "train/images_seen", "validation/words/cer"):
        shown = {m.step: m.value for m in client.get_metric_history(entry.info.run_id, key)}
        assert shown == {p.step: p.value for p in points if p.key == key}, key
    PROVED.append(("training: a worker dies, one is cut off", "every image once an epoch, exit code 0"))
    PROVED.append(("MLflow out of reach for a minute", "its curves are the run's own to the last point"))
