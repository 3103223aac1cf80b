"""The Kubernetes manifests: rendered as kustomize does, checked by KubeRay's schemas and rules of our own."""

import copy
import functools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.infra.kustomize import render
from tests.infra.rules import clusters, complaints, good_cron, pods

ROOT = Path(__file__).resolve().parents[2]
KUBERAY = ROOT / "infra/kuberay"
OVERLAYS = ("dev", "prod")
Object = dict[str, Any]


@pytest.fixture(scope="module")
def with_raycronjob(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of infra/ whose overlay prod has the night by RayCronJob, as its comment says."""
    copied = tmp_path_factory.mktemp("infra")
    for part in ("kuberay", "mlflow"):
        shutil.copytree(ROOT / "infra" / part, copied / part)
    kustomization = copied / "kuberay/overlays/prod/kustomization.yaml"
    text = kustomization.read_text()
    assert "  # - ../../components/raycronjob" in text
    kustomization.write_text(
        text.replace("  # - ../../components/raycronjob", "  - ../../components/raycronjob")
    )
    return kustomization.parent


@pytest.fixture(params=[*OVERLAYS, "raycronjob"])
def overlay(request: pytest.FixtureRequest, with_raycronjob: Path) -> Path:
    return with_raycronjob if request.param == "raycronjob" else KUBERAY / "overlays" / request.param


def test_our_rendering_is_that_of_kustomize(overlay: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl, which is not here")
    done = subprocess.run(["kubectl", "kustomize", overlay], capture_output=True, text=True, check=True)
    by_name = {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(done.stdout)}
    ours = render(overlay)
    assert {(o["kind"], o["metadata"]["name"]): o for o in ours} == by_name
    assert len(ours) == len(by_name)


def test_every_manifest_keeps_the_rules(overlay: Path) -> None:
    assert complaints(render(overlay)) == []


@functools.cache
def validator(shared: Path, kind: str) -> jsonschema.Draft7Validator:
    """KubeRay's schema of a kind; that it is a sound schema is taken for granted, for checking takes long."""
    schema = json.loads((shared / f"schemas/kuberay/{kind}.v1.schema.json").read_text())
    return jsonschema.Draft7Validator(schema)


def test_every_ray_object_fits_its_schema(overlay: Path, shared: Path) -> None:
    checked = 0
    for obj in render(overlay):
        if obj["apiVersion"] == "ray.io/v1":
            validator(shared, obj["kind"]).validate(obj)
            checked += 1
    assert checked >= 3


def find(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = (o for o in objects if o["kind"] == kind and o["metadata"]["name"] == name)
    return found


def worker(objects: list[Object]) -> Object:
    """The container of the standing cluster's first worker group."""
    template = find(objects, "RayCluster", "crnn")["spec"]["workerGroupSpecs"][0]["template"]["spec"]
    container: Object = template["containers"][0]
    return container


def night(objects: list[Object]) -> Object:
    spec: Object = find(objects, "CronJob", "crnn-nightly")["spec"]
    return spec


Plant = Callable[[list[Object]], object]
MISTAKES: dict[str, tuple[Plant, str]] = {
    "a floating tag": (lambda o: worker(o).update(image="crnn:latest"), "isn't pinned"),
    "no tag": (lambda o: worker(o).update(image="crnn"), "isn't pinned"),
    "root": (lambda o: next(pods(find(o, "Deployment", "mlflow"))).update(securityContext={}), "as root"),
    "a writable image": (
        lambda o: worker(o)["securityContext"].pop("readOnlyRootFilesystem"),
        "change its image",
    ),
    "capabilities": (lambda o: worker(o)["securityContext"].pop("capabilities"), "gain rights"),
    "too large a request": (
        lambda o: worker(o)["resources"]["requests"].update(cpu="8"),
        "don't fit a m7i.2xlarge",
    ),
    "a GPU that isn't there": (
        lambda o: worker(o)["resources"]["requests"].update({"nvidia.com/gpu": 1}),
        "don't fit a m7i.2xlarge",
    ),
    "no request": (lambda o: worker(o)["resources"].pop("requests"), "asks for no CPU"),
    "open to anybody": (
        lambda o: next(clusters(find(o, "RayJob", "crnn-train"))).pop("authOptions"),
        "anybody",
    ),
    "another Ray": (
        lambda o: find(o, "RayCluster", "crnn")["spec"].update(rayVersion="2.59.0"),
        "Ray 2.59.0",
    ),
    "work on the head": (
        lambda o: find(o, "RayCluster", "crnn")["spec"]["headGroupSpec"]["rayStartParams"].clear(),
        "land on the head",
    ),
    "a cron expression": (lambda o: night(o).update(schedule="0 25 * * *"), "no cron expression"),
    "overlapping nights": (lambda o: night(o).update(concurrencyPolicy="Allow"), "at once"),
    "no deadline": (lambda o: night(o).pop("startingDeadlineSeconds"), "caught up"),
    "no second try": (lambda o: night(o)["jobTemplate"]["spec"].pop("backoffLimit"), "without backoffLimit"),
    "an unknown account": (
        lambda o: night(o)["jobTemplate"]["spec"]["template"]["spec"].update(
            serviceAccountName="crnn-sumbit"
        ),
        "no service account crnn-sumbit",
    ),
    "an unknown priority": (
        lambda o: night(o)["jobTemplate"]["spec"]["template"]["spec"].update(priorityClassName="high"),
        "no priority class high",
    ),
    "a secret": (
        lambda o: o.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}),
        "belong",
    ),
    "a password in the environment": (
        lambda o: worker(o)["env"].append({"name": "MLFLOW_TRACKING_PASSWORD", "value": "hunter2"}),
        "stands in the file",
    ),
    "no default policy": (
        lambda o: o.remove(find(o, "NetworkPolicy", "nobody-by-default")),
        "everybody may talk",
    ),
    "an open door": (
        lambda o: find(o, "NetworkPolicy", "ray")["spec"]["ingress"].append({"ports": [{"port": 8265}]}),
        "lets everybody in",
    ),
    "a long name": (
        lambda o: find(o, "RayJob", "crnn-train")["metadata"].update(name="x" * 48),
        "47 characters",
    ),
    "a name twice": (lambda o: o.append(copy.deepcopy(o[0])), "there are two"),
    "a volume that isn't there": (
        lambda o: worker(o)["volumeMounts"].append({"name": "cache", "mountPath": "/cache"}),
        "which isn't there",
    ),
    "an abandoned cluster": (
        lambda o: find(o, "RayJob", "crnn-backfill")["spec"].update(shutdownAfterJobFinishes=False),
        "leaves its cluster behind",
    ),
    "too many replicas": (
        lambda o: find(o, "RayCluster", "crnn")["spec"]["workerGroupSpecs"][0].update(replicas=9),
        "min <= replicas <= max",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_caught(mistake: str) -> None:
    objects = render(KUBERAY / "overlays/prod")
    plant, told = MISTAKES[mistake]
    plant(objects)
    assert any(told in complaint for complaint in complaints(objects)), complaints(objects)


@pytest.mark.parametrize(
    "mistake",
    [("spec", "rayversion"), ("spec", "headGroupSpec", "rayStartParam"), ("spec", "authOptions", "mod")],
)
def test_a_misspelt_field_is_caught_by_the_schema(mistake: tuple[str, ...], shared: Path) -> None:
    cluster = find(render(KUBERAY / "overlays/prod"), "RayCluster", "crnn")
    node = cluster
    for step in mistake[:-1]:
        node = node[step]
    node[mistake[-1]] = "x"
    with pytest.raises(jsonschema.ValidationError, match=mistake[-1]):
        validator(shared, "RayCluster").validate(cluster)


@pytest.mark.parametrize(
    ("expression", "good"),
    [
        ("0 2 * * *", True),
        ("*/15 1-5 1,15 * 7", True),
        ("0 2 * *", False),
        ("60 2 * * *", False),
        ("x 2 * * *", False),
    ],
)
def test_cron_expressions_are_told_apart(expression: str, good: bool) -> None:
    assert good_cron(expression) == good


def commands(objects: list[Object]) -> dict[str, list[str]]:
    """The jobs' command lines with the settings put in, by object."""
    settings = find(objects, "ConfigMap", "crnn-settings")["data"]
    found = {}
    for obj in objects:
        if obj["kind"] in ("RayJob", "RayCronJob"):
            line = obj["spec"].get("jobTemplate", obj["spec"])["entrypoint"]
            line = line.replace("$(date -u -d '1 hour ago' +%F)", "2026-11-25")
            found[f"{obj['kind']} {obj['metadata']['name']}"] = [
                filled(argument, r"\$(\w+)", settings) for argument in line.split()
            ]
        if obj["kind"] == "CronJob":
            (container,) = next(pods(obj))["containers"]
            names = settings | {entry["name"]: "crnn-nightly-29412345" for entry in container["env"]}
            found["CronJob"] = [filled(argument, r"\$\((\w+)\)", names) for argument in container["args"]]
    return found


def filled(argument: str, name: str, values: dict[str, str]) -> str:
    return re.sub(name, lambda found: values[found[1]], argument)


def test_every_entry_point_is_a_job_that_takes_these_flags(overlay: Path) -> None:
    found = commands(render(overlay))
    assert {"CronJob", "RayJob crnn-train", "RayJob crnn-backfill"} <= found.keys()
    for line in found.values():
        parse(line)


def parse(line: list[str]) -> None:
    """Checks that a job takes a command line's flags; what comes after -- too."""
    assert line[0] == "python"
    module, arguments = line[1].removeprefix("/opt/crnn/"), line[2:]
    assert (ROOT / module).is_file(), f"there is no {module}"
    if "--" in arguments:
        end = arguments.index("--")
        parse(arguments[end + 1 :])
        arguments = arguments[:end]
    recipe = tuple(argument for argument in arguments[:1] if not argument.startswith("-"))
    flags = {argument.partition("=")[0] for argument in arguments if argument.startswith("--")}
    assert flags
    assert flags <= offered(module, recipe)


@functools.cache
def offered(module: str, recipe: tuple[str, ...]) -> set[str]:
    """The flags that a job's help lists."""
    command = [sys.executable, module, *recipe, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"--[a-z][\w-]*", done.stdout))


def test_training_gets_as_many_machines_with_gpus_as_it_has_workers(overlay: Path) -> None:
    objects = render(overlay)
    wanted = int(find(objects, "ConfigMap", "crnn-settings")["data"]["CRNN_TRAINING_WORKERS"])
    (cluster,) = clusters(find(objects, "RayJob", "crnn-train"))
    (group,) = (g for g in cluster["workerGroupSpecs"] if g["groupName"] == "gpu")
    assert wanted <= group["maxReplicas"]


def test_only_training_and_mlflow_may_delete() -> None:
    may_delete = set()
    for path in (ROOT / "infra/aws/policies").glob("*.json"):
        policy = json.loads(path.read_text())
        for statement in policy["Statement"]:
            assert statement["Effect"] == "Allow"
            for action in statement["Action"]:
                assert "*" not in action, f"{path}: {action} may be anything"
                may_delete |= {path.stem} if "Delete" in action else set()
            for resource in statement["Resource"]:
                assert re.fullmatch(r"arn:aws:s3:::example-[\w-]+(/\w+/\*)?", resource), resource
    assert may_delete == {"train", "mlflow"}


def test_settings_name_no_folder_that_their_role_may_not_use() -> None:
    settings = yaml.safe_load((KUBERAY / "overlays/prod/settings.yaml").read_text())["data"]
    roles = {"nightly": ("IMAGES", "TRANSCRIPTS"), "train": ("TRAINING_DATA", "RUNS")}
    for role, names in roles.items():
        policy = json.loads((ROOT / f"infra/aws/policies/{role}.json").read_text())
        allowed = {resource for statement in policy["Statement"] for resource in statement["Resource"]}
        for name in names:
            bucket, folder = settings[f"CRNN_{name}"].removeprefix("s3://").split("/")[:2]
            assert f"arn:aws:s3:::{bucket}/{folder}/*" in allowed, name
            assert f"arn:aws:s3:::{bucket}" in allowed, name
