"""Without Kubernetes: `ray up`, systemd and cron. And no secret anywhere in infra/."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml

from tests.infra.rules import PINNED, good_cron
from tests.infra.test_kubernetes import parse

ROOT = Path(__file__).resolve().parents[2]
MACHINE = ROOT / "infra/machine"
RAY_CRON_JOB = ROOT / "infra/kuberay/components/raycronjob/nightly.yaml"
SECRETS = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN|(?i:(?:password|secret|token)(?!s)[a-z_]*\s*[=:]\s*[\"']?[A-Za-z0-9+/]{8,}[\"']?\s*$)|"
    r"://[^/\s:@]+:[^/\s@$]+@",
    re.MULTILINE,
)


def cluster() -> dict[str, Any]:
    told: dict[str, Any] = yaml.safe_load((ROOT / "infra/aws/cluster.yaml").read_text())
    return told


def complaints(told: dict[str, Any]) -> list[str]:
    """What is wrong with a file for `ray up`."""
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    found = [error.message for error in jsonschema.Draft7Validator(schema).iter_errors(told)]
    if not PINNED.match(told["docker"]["image"]):
        found.append("the image isn't pinned")
    if "--env=RAY_AUTH_MODE=token" not in told["docker"]["run_options"]:
        found.append("anybody may use the cluster")
    if told["head_node_type"] not in told["available_node_types"]:
        found.append("there is no such head")
    workers = sum(t.get("max_workers", 0) for t in told["available_node_types"].values())
    if workers > told["max_workers"]:
        found.append(f"{workers} workers by type, {told['max_workers']} in all")
    for line in told["head_start_ray_commands"]:
        if "ray start" in line and "--dashboard-host=127.0.0.1" not in line:
            found.append("the dashboard is open to the network")
    for name in ("setup_commands", "head_setup_commands", "worker_setup_commands"):
        if told.get(name) != []:  # Ray's own for AWS install what is newest
            found.append(f"{name} change what the image has")
    if any("--shm-size" in option for option in told["docker"]["run_options"]):
        found.append("a size of shared memory of our own keeps Ray from choosing one that holds its store")
    for name, kind in told["available_node_types"].items():
        if kind["node_config"].get("MetadataOptions", {}).get("HttpTokens") != "required":
            found.append(f"{name}: whoever can make it send a request gets its role")
    return found


def test_the_cluster_for_ray_up_fits_ray_s_schema_and_is_guarded() -> None:
    assert complaints(cluster()) == []


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        (("max_wrokers",), 3, "max_wrokers"),
        (("provider", "type"), None, "None is not of type"),
        (("docker", "image"), "crnn:latest", "isn't pinned"),
        (("docker", "run_options"), [], "anybody"),
        (("docker", "run_options"), ["--shm-size=8g"], "holds its store"),
        (("head_setup_commands",), ["pip install boto3"], "change what the image has"),
        (("head_node_type",), "haed", "no such head"),
        (("max_workers",), 3, "workers by type"),
        (("head_start_ray_commands",), ["ray start --head"], "open to the network"),
        (("available_node_types", "gpu", "node_config"), {}, "gets its role"),
    ],
)
def test_a_planted_mistake_is_caught(path: tuple[str, ...], value: Any, told: str) -> None:
    planted = node = cluster()
    for step in path[:-1]:
        node = node[step]
    node[path[-1]] = value
    assert any(told in complaint for complaint in complaints(planted)), complaints(planted)


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze, which is not here")
    units = [Path(shutil.copy(MACHINE / f"crnn-nightly.{kind}", tmp_path)) for kind in ("service", "timer")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    units[0].write_text(units[0].read_text().replace("RestartSec=10min", "RestartSec=10mni"))
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert "10mni" in done.stderr


def shell_command(line: str) -> list[str]:
    """The Python command at the end of a shell line, with its variables named."""
    found = re.search(r"\.venv/bin/(python .*?)(?:'| >>.*)?$", line)
    assert found
    return re.sub(r"\$\(date [^)]*\)", "run", found[1]).replace('"', "").split()


@pytest.mark.parametrize(("now", "night"), [("02:00", 27), ("09:59", 27), ("23:59", 27), ("00:50", 26)])
def test_a_night_keeps_its_name_for_as_long_as_it_is_tried(now: str, night: int) -> None:
    """Begun at two o'clock; a try after midnight is the same night, and none takes the next night's name."""
    files = (MACHINE / "crontab", MACHINE / "crnn-nightly.service", RAY_CRON_JOB)
    dates = {
        re.sub(r"[\\%\"']", "", d) for f in files for d in re.findall(r"\$\((date [^)]*)\)", f.read_text())
    }
    assert dates == {"date -u -d 1 hour ago +F"}
    told = ["date", "-u", "-d", f"2026-11-27 {now} UTC 1 hour ago", "+%d"]
    assert int(subprocess.run(told, capture_output=True, text=True, check=True).stdout) == night


def test_systemd_and_cron_run_the_same_command_with_flags_that_the_job_has() -> None:
    (start,) = re.findall(r"^ExecStart=(.*)$", (MACHINE / "crnn-nightly.service").read_text(), re.MULTILINE)
    (line,) = re.findall(r"^\d.*$", (MACHINE / "crontab").read_text(), re.MULTILINE)
    fields = line.split(maxsplit=5)
    assert good_cron(" ".join(fields[:5]))
    assert not re.search(r"(?<!\\)%", line), "cron ends the command at a bare %"
    assert not re.search(r"(?<!%)%(?![%])", start.replace("%%", "")), "systemd replaces a single %"
    by_systemd, by_cron = (
        shell_command(text) for text in (start.replace("%%", "%"), line.replace("\\%", "%"))
    )
    assert by_systemd == by_cron
    parse(by_systemd)


def test_the_environment_names_what_the_units_use() -> None:
    used = set(re.findall(r"\$(CRNN_\w+)", (MACHINE / "crnn-nightly.service").read_text()))
    assert used
    assert used <= set(re.findall(r"^(\w+)=", (MACHINE / "nightly.env").read_text(), re.MULTILINE))


def test_no_file_of_infra_holds_a_secret() -> None:
    files = [path for path in (ROOT / "infra").rglob("*") if path.is_file() and path.name != ".env"]
    assert len(files) > 20
    assert {str(path): found for path in files if (found := SECRETS.findall(path.read_text()))} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "-----BEGIN PRIVATE KEY-----",
        "password: hunter2hunter2",
        "MLFLOW_TRACKING_PASSWORD=0123456789",
        "--backend-store-uri=postgresql://mlflow:hunter2@postgres/mlflow",
    ],
)
def test_a_planted_secret_is_found(planted: str) -> None:
    assert SECRETS.search(f"name: x\n{planted}\n")
