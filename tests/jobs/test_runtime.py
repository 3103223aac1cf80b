"""How jobs start Ray, and how they end."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest
import ray

from crnn.errors import ModelConfigError
from jobs.failures import ExitCode, IncompleteError
from jobs.runtime import connect_ray, run_job
from pipeline.errors import ConfigError, DataError, ModelNotFoundError
from pipeline.machine import object_store


@pytest.fixture(autouse=True)
def traces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where jobs keep traces."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def fail(error: BaseException) -> int:
    raise error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), ExitCode.BAD_CONFIG),
        (ModelConfigError("x"), ExitCode.BAD_CONFIG),
        (ModelNotFoundError("x"), ExitCode.BAD_CONFIG),
        (IncompleteError("x"), ExitCode.INCOMPLETE),
        (DataError("x"), ExitCode.FAILED),
        (RuntimeError("x"), ExitCode.FAILED),
        (SystemExit(2), ExitCode.BAD_CONFIG),
        (SystemExit(None), ExitCode.OK),
        (SystemExit("x"), ExitCode.FAILED),
        (KeyboardInterrupt(), ExitCode.FAILED),
    ],
)
def test_every_ending_has_its_exit_code(error: BaseException, code: ExitCode) -> None:
    assert run_job(lambda: fail(error)) == code


def test_a_job_that_returns_nothing_ended_well() -> None:
    assert run_job(lambda: None) == 0
    assert run_job(lambda: ExitCode.INCOMPLETE) == 3


def test_an_error_of_ours_is_told_by_its_sentence_alone(capsys: pytest.CaptureFixture[str]) -> None:
    run_job(lambda: fail(DataError("shards/000003.parquet is damaged; write it again.")))
    assert capsys.readouterr().err == "error: shards/000003.parquet is damaged; write it again.\n"


def test_an_unforeseen_error_names_its_place_and_keeps_its_trace(
    capsys: pytest.CaptureFixture[str],
) -> None:
    run_job(lambda: object_store("much", 0)[0])  # type: ignore[arg-type]
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: TypeError: ")
    assert lines[1].startswith("  in pipeline/machine.py:")
    assert lines[1].endswith("(object_store)")
    trace = Path(lines[2].removeprefix("  The whole trace: "))
    assert "Traceback (most recent call last)" in trace.read_text()


def test_a_full_disk_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    run_job(lambda: fail(OSError(28, "No space left on device")))
    assert "Free some disk space" in capsys.readouterr().err


SLEEPER = """
    import signal, sys, time
    from jobs.runtime import run_job
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells make background jobs ignore it
    def body():
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            print("kept", flush=True)
    raise SystemExit(run_job(body))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_unwinds_the_job_once(number: signal.Signals, code: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SLEEPER)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert (child.returncode, out) == (code, "kept\n")
    assert "Traceback" not in err


RAY_CHECKS = """
    import json, os, pathlib, signal, sys, threading, time
    from jobs.runtime import connect_ray, run_job
    from crnn.errors import CharsetError
    from pipeline.errors import DataError

    FOLDER = pathlib.Path(sys.argv[1])

    def refuse(batch):
        try:
            {}["x"]
        except KeyError as error:
            raise CharsetError("'é' is outside the charset") from error

    def stumble(config):
        raise RuntimeError("stumbled")

    def dawdle(config):
        (FOLDER / config["name"]).touch()
        while True:
            time.sleep(0.1)

    def data():
        import ray.data
        ray.data.range(4).map_batches(refuse).materialize()

    def train(loop=stumble, name="fails"):
        import ray.train
        from ray.train.torch import TorchTrainer
        TorchTrainer(
            loop, train_loop_config={"name": name}, scaling_config=ray.train.ScalingConfig(num_workers=1),
            run_config=ray.train.RunConfig(storage_path=str(FOLDER / "runs"), name=name),
        ).fit()

    def task():
        import ray
        ray.get(ray.remote(lambda: (_ for _ in ()).throw(DataError("shard 3 is damaged"))).remote())

    def ended_by(number):
        def strike():
            while not (FOLDER / number.name).exists():
                time.sleep(0.05)
            os.kill(os.getpid(), number)
        threading.Thread(target=strike, daemon=True).start()
        try:
            train(dawdle, number.name)
        finally:
            print(f"{number.name} unwound", flush=True)

    def all_of_it():
        with connect_ray():
            import ray
            with connect_ray():
                pass  # a second one joins the first and leaves it running
            codes = [run_job(part) for part in (task, data, train)]
            codes += [run_job(lambda: ended_by(number)) for number in (signal.SIGTERM, signal.SIGINT)]
            asks_after = ray._config.grpc_client_keepalive_time_ms()
            cpus = ray.cluster_resources()["CPU"]
            print(json.dumps({"cpus": cpus, "codes": codes, "asks_after_ms": asks_after}), flush=True)
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()

    raise SystemExit(run_job(all_of_it))
"""


@pytest.fixture(scope="module")
def child_with_ray(tmp_path_factory: pytest.TempPathFactory) -> "subprocess.CompletedProcess[str]":
    """One process that starts Ray as jobs do, lets workers fail in three ways and is terminated."""
    home = tmp_path_factory.mktemp("home")
    kept = ("RAY_worker_niceness",)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_") or k in kept}
    with tempfile.TemporaryDirectory() as traces:  # a short path, for Ray's sockets lie below it
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(RAY_CHECKS), str(tmp_path_factory.mktemp("runs"))],
            env=environment | {"HOME": str(home), "TMPDIR": traces},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
    assert not list(home.rglob("*ray*")), "Ray left something in the home folder"
    return done


def test_workers_errors_are_told_by_their_cause_on_the_last_lines(
    child_with_ray: "subprocess.CompletedProcess[str]",
) -> None:
    found = json.loads(child_with_ray.stdout.splitlines()[-1])
    assert found["codes"][:3] == [ExitCode.FAILED, ExitCode.BAD_CONFIG, ExitCode.FAILED]
    told = [line for line in child_with_ray.stderr.splitlines() if line.startswith("error: ")]
    assert told == [
        "error: shard 3 is damaged",
        "error: 'é' is outside the charset",
        "error: RuntimeError: stumbled",
    ]


def test_a_local_ray_has_room_for_a_worker_beside_data_tasks(
    child_with_ray: "subprocess.CompletedProcess[str]",
) -> None:
    assert json.loads(child_with_ray.stdout.splitlines()[-1])["cpus"] >= 4


def test_a_host_that_is_cut_off_is_asked_for_soon(child_with_ray: "subprocess.CompletedProcess[str]") -> None:
    assert json.loads(child_with_ray.stdout.splitlines()[-1])["asks_after_ms"] == 75_000  # 300,000 by itself


def test_signals_unwind_a_job_although_ray_handles_them_too(
    child_with_ray: "subprocess.CompletedProcess[str]",
) -> None:
    found = json.loads(child_with_ray.stdout.splitlines()[-1])
    assert found["codes"][3:] == [ExitCode.TERMINATED, ExitCode.INTERRUPTED]
    assert "SIGTERM unwound" in child_with_ray.stdout
    assert "SIGINT unwound" in child_with_ray.stdout
    assert child_with_ray.returncode == ExitCode.TERMINATED


def test_a_dashboard_s_address_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:8265")
    with pytest.raises(ConfigError, match="ray job submit"), connect_ray():
        pass
    assert not ray.is_initialized()
