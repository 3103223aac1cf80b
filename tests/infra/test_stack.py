"""MLflow's server, in Kubernetes and in compose: flags that it has, guarded, no secret in a file."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.kustomize import render
from tests.infra.rules import PINNED, looks_secret, pods

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "infra/mlflow/compose.yaml"
OFF = (
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION",
    "MLFLOW_SERVER_ENABLE_CUSTOM_SCORERS",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION",
)


def kubernetes() -> tuple[list[str], dict[str, Any]]:
    """The server's command and environment."""
    (obj,) = (o for o in render(ROOT / "infra/mlflow/kubernetes") if o["kind"] == "Deployment")
    (container,) = next(pods(obj))["containers"]
    return container["args"], {
        entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]
    }


def compose() -> tuple[list[str], dict[str, Any]]:
    service = yaml.safe_load(COMPOSE.read_text())["services"]["mlflow"]
    return service["command"], service["environment"]


@pytest.mark.parametrize("place", [kubernetes, compose])
def test_the_server_has_every_flag_and_variable_and_is_guarded(place: Any) -> None:
    command, environment = place()
    assert command[:2] == ["mlflow", "server"]
    flags = dict(argument.removeprefix("--").split("=", 1) for argument in command[2:])
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "server", "--help"], capture_output=True, text=True, check=True
    )
    assert {f"--{flag}" for flag in flags} <= set(re.findall(r"--[a-z-]+", done.stdout))
    assert flags["app-name"] == "basic-auth"
    assert "*" not in flags["allowed-hosts"]
    assert flags["backend-store-uri"].startswith("postgresql+psycopg2://")  # installed in the image
    from mlflow import environment_variables

    for name in (name for name in environment if name.startswith("MLFLOW_") and name != "MLFLOW_ARTIFACTS"):
        assert hasattr(environment_variables, name) or name == "MLFLOW_S3_ENDPOINT_URL", name
    assert {name: environment[name] for name in OFF} == dict.fromkeys(OFF, "false")


def test_the_server_answers_to_the_name_that_the_jobs_use() -> None:
    command, _ = kubernetes()
    (hosts,) = (
        a.removeprefix("--allowed-hosts=").split(",") for a in command if a.startswith("--allowed-hosts")
    )
    for overlay in ("dev", "prod"):
        settings = yaml.safe_load((ROOT / f"infra/kuberay/overlays/{overlay}/settings.yaml").read_text())[
            "data"
        ]
        assert settings["MLFLOW_TRACKING_URI"].removeprefix("http://") in hosts


def complaints(told: dict[str, Any]) -> list[str]:
    """What is wrong with a compose file."""
    found = []
    for name, service in told["services"].items():
        if "image" in service and not PINNED.match(service["image"]):
            found.append(f"{name}: {service['image']} isn't pinned")
        for port in service.get("ports", []):
            if not str(port).startswith("127.0.0.1:"):
                found.append(f"{name}: {port} is open to the network")
        for variable, value in service.get("environment", {}).items():
            if looks_secret(variable) and not str(value).startswith("${"):
                found.append(f"{name}: the value of {variable} stands in the file")
        needs = service.get("depends_on", {})
        found += [f"{name}: there is no {other}" for other in needs if other not in told["services"]]
        if "build" in service:
            context = COMPOSE.parent / service["build"]["context"]
            dockerfile = context / service["build"]["dockerfile"]
            if f"AS {service['build']['target']}\n" not in (
                dockerfile.read_text() if dockerfile.is_file() else ""
            ):
                found.append(f"{name}: no target {service['build']['target']} in {dockerfile}")
        for volume in service.get("volumes", []):
            if volume.split(":")[0] not in told["volumes"]:
                found.append(f"{name}: there is no volume {volume}")
    return found


def test_the_compose_file_is_pinned_local_and_without_secrets() -> None:
    assert complaints(yaml.safe_load(COMPOSE.read_text())) == []


@pytest.mark.parametrize(
    ("service", "change", "told"),
    [
        ("postgres", {"image": "postgres"}, "isn't pinned"),
        ("mlflow", {"ports": ["5000:5000"]}, "open to the network"),
        ("postgres", {"environment": {"POSTGRES_PASSWORD": "hunter2"}}, "stands in the file"),
        ("mlflow", {"depends_on": {"postgras": {}}}, "no postgras"),
        (
            "mlflow",
            {"build": {"context": "../..", "dockerfile": "infra/image/Dockerfile", "target": "x"}},
            "no target",
        ),
        ("store", {"volumes": ["stroe:/data"]}, "no volume"),
    ],
)
def test_a_planted_mistake_is_caught(service: str, change: dict[str, Any], told: str) -> None:
    parsed = yaml.safe_load(COMPOSE.read_text())
    parsed["services"][service].update(change)
    assert any(told in complaint for complaint in complaints(parsed))


def test_every_secret_of_the_compose_file_is_asked_for_in_the_example_and_left_empty() -> None:
    named = set(re.findall(r"(?<!\$)\$\{(\w+):\?", COMPOSE.read_text()))
    lines = [line for line in (ROOT / "infra/mlflow/example.env").read_text().splitlines() if "=" in line]
    example = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert example.keys() == named
    assert not any(value for name, value in example.items() if looks_secret(name))
    assert ".env" in (ROOT / ".gitignore").read_text().split()
