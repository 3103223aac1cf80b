"""What must hold of every Kubernetes object in infra/: functions from objects to complaints."""

import re
from collections.abc import Iterator
from typing import Any

Object = dict[str, Any]

NODES = {  # vCPU, GiB, GPUs of the machines that the manifests name
    "m7i.large": (2, 8, 0),
    "m7i.2xlarge": (8, 32, 0),
    "g6.2xlarge": (8, 32, 1),
}
SYSTEM_CPU, SYSTEM_GIB = 0.6, 3.0
"""What the kubelet, the system and the usual daemons keep for themselves."""
ANY_NODE = (2, 8, 0)
SIDECARS_CPU, SIDECARS_GIB = 0.25, 1.0
"""The autoscaler beside a Ray head; autoscalerOptions.resources."""
PINNED = re.compile(r"[\w./:-]+:(?!latest$)[\w.-]*\d[\w.-]*$")
FIELD = re.compile(r"(?:[0-5]?\d|\*)(?:[-/,]\d+)*")
CRON = re.compile(
    rf"({FIELD.pattern}) ({FIELD.pattern}) ({FIELD.pattern}) ({FIELD.pattern}) ({FIELD.pattern})"
)
CRON_LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
RAY_VERSION = "2.60.0"
MAX_NAME = 47
"""KubeRay makes longer names of it, which may have 63 characters."""


def complaints(objects: list[Object]) -> list[str]:
    """Everything that is wrong, each as a sentence that begins with the object's kind and name."""
    told = []
    for obj in objects:
        name = f"{obj['kind']} {obj['metadata']['name']}"
        told += [f"{name}: {what}" for what in _object(obj)]
        for pod in pods(obj):
            told += [f"{name}: {what}" for what in _pod(pod, objects)]
        for cluster in clusters(obj):
            told += [f"{name}: {what}" for what in _cluster(cluster)]
    return told + list(_network(objects)) + list(_names(objects))


def _object(obj: Object) -> Iterator[str]:
    kind, spec = obj["kind"], obj.get("spec", {})
    if obj["apiVersion"].startswith("ray.io") and len(obj["metadata"]["name"]) > MAX_NAME:
        yield f"a name of more than {MAX_NAME} characters"
    if kind in ("CronJob", "RayCronJob"):
        if not good_cron(spec["schedule"]):
            yield f"{spec['schedule']!r} is no cron expression"
        if "timeZone" not in spec:
            yield "02:00 of which time zone?"
    if kind == "CronJob":
        if spec.get("concurrencyPolicy") != "Forbid":
            yield "two nights may run at once"
        if "startingDeadlineSeconds" not in spec:
            yield "a night that was missed is caught up at any time, or never"
        job = spec["jobTemplate"]["spec"]
        missing = {"backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"} - job.keys()
        if missing:
            yield f"without {', '.join(sorted(missing))}"
    if kind == "RayJob" and (spec.get("backoffLimit", 0) < 1 or not spec.get("shutdownAfterJobFinishes")):
        yield "isn't tried again, or leaves its cluster behind"
    if kind == "Secret":
        yield "secrets don't belong in these files"


def _pod(pod: Object, objects: list[Object]) -> Iterator[str]:
    if "serviceAccountName" not in pod:
        yield "runs as the default service account"
    names = {(o["kind"], o["metadata"]["name"]) for o in objects}
    if ("ServiceAccount", pod.get("serviceAccountName")) not in names:
        yield f"there is no service account {pod.get('serviceAccountName')}"
    if "priorityClassName" in pod and ("PriorityClass", pod["priorityClassName"]) not in names:
        yield f"there is no priority class {pod['priorityClassName']}"
    security = pod.get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "may run as root"
    if security.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "has no seccomp profile"
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {"data"} if any(c["name"] == "postgres" for c in pod["containers"]) else set()
    cpu = gib = gpus = 0.0
    for container in pod["containers"]:
        name = container["name"]
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{name} may gain rights"
        if not own.get("readOnlyRootFilesystem"):
            yield f"{name} may change its image"
        if not PINNED.match(container["image"]):
            yield f"{name}: {container['image']} isn't pinned to a version"
        requests = container.get("resources", {}).get("requests", {})
        limits = container.get("resources", {}).get("limits", {})
        if not {"cpu", "memory"} <= requests.keys() or limits.get("memory") != requests.get("memory"):
            yield f"{name} asks for no CPU or memory, or may take more memory than it asks for"
            continue
        cpu, gib = cpu + cpus(requests["cpu"]), gib + gibibytes(requests["memory"])
        gpus += int(requests.get("nvidia.com/gpu", 0))
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        if mounted - volumes:
            yield f"{name} mounts {mounted - volumes}, which isn't there"
        for entry in container.get("env", []):
            if looks_secret(entry["name"]) and "value" in entry:
                yield f"{name}: the value of {entry['name']} stands in the file"
    node = pod.get("nodeSelector", {}).get("node.kubernetes.io/instance-type")
    vcpu, memory, cards = NODES.get(node, ANY_NODE) if node else ANY_NODE
    if any(c["name"] == "ray-head" for c in pod["containers"]):
        cpu, gib = cpu + SIDECARS_CPU, gib + SIDECARS_GIB
    if node and node not in NODES:
        yield f"{node} isn't a machine that rules.py knows"
    elif cpu > vcpu - SYSTEM_CPU or gib > memory - min(SYSTEM_GIB, memory / 4) or gpus > cards:
        yield f"{cpu:g} CPUs, {gib:g} GiB and {gpus:g} GPUs don't fit a {node or 'small machine'}"


def _cluster(spec: Object) -> Iterator[str]:
    if spec.get("authOptions") != {"mode": "token"}:
        yield "anybody may use the cluster"
    if spec.get("rayVersion") != RAY_VERSION:
        yield f"Ray {spec.get('rayVersion')} where the image has {RAY_VERSION}"
    if spec.get("autoscalerOptions", {}).get("version") != "v2":
        yield "not the autoscaler v2"
    if spec["headGroupSpec"]["rayStartParams"].get("num-cpus") != "0":
        yield "work may land on the head"
    for group in spec["workerGroupSpecs"]:
        if not group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]:
            yield f"group {group['groupName']}: not min <= replicas <= max"
        if "idleTimeoutSeconds" not in group:
            yield f"group {group['groupName']}: idle machines stay"


def _network(objects: list[Object]) -> Iterator[str]:
    policies = [o for o in objects if o["kind"] == "NetworkPolicy"]
    if not any(
        p["spec"]["podSelector"] == {}
        and set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        and not p["spec"].keys() & {"ingress", "egress"}
        for p in policies
    ):
        yield "NetworkPolicy: everybody may talk to everybody unless told otherwise"
    for policy in policies:
        for rule in policy["spec"].get("ingress", []):
            if not rule.get("from"):
                yield f"NetworkPolicy {policy['metadata']['name']}: lets everybody in"


def _names(objects: list[Object]) -> Iterator[str]:
    seen = set()
    for obj in objects:
        key = obj["kind"], obj["metadata"]["name"]
        if key in seen:
            yield f"{key[0]} {key[1]}: there are two"
        seen.add(key)


def clusters(obj: Object) -> Iterator[Object]:
    """The Ray cluster specs in an object."""
    if obj["kind"] == "RayCluster":
        yield obj["spec"]
    elif obj["kind"] == "RayJob":
        yield obj["spec"]["rayClusterSpec"]
    elif obj["kind"] == "RayCronJob":
        yield obj["spec"]["jobTemplate"]["rayClusterSpec"]


def pods(obj: Object) -> Iterator[Object]:
    """The pod specs in an object."""
    if obj["kind"] in ("Deployment", "StatefulSet"):
        yield obj["spec"]["template"]["spec"]
    if obj["kind"] == "CronJob":
        yield obj["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    for cluster in clusters(obj):
        for group in [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]:
            yield group["template"]["spec"]


def cpus(quantity: str) -> float:
    """Such as "7" or 250m."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity)


def gibibytes(quantity: str) -> float:
    """Such as 24Gi or 512Mi."""
    return float(quantity[:-2]) / {"Mi": 1024, "Gi": 1}[quantity[-2:]]


def good_cron(expression: str) -> bool:
    """Whether five fields of numbers, in their ranges."""
    match = CRON.fullmatch(expression)
    return bool(match) and all(
        low <= int(number) <= high
        for field, (low, high) in zip(match.groups(), CRON_LIMITS, strict=True)
        for number in re.findall(r"\d+", field)
    )


def looks_secret(name: str) -> bool:
    """Whether a variable's name says that its value is to be kept."""
    return bool(re.search(r"(PASSWORD|SECRET|TOKEN)(?!_PATH)|ACCESS_KEY_ID|SESSION_KEY", name))
