"""Is the Ray cluster of this Ray, and closed to whoever has no token?"""

import platform
from importlib.metadata import version

from pipeline.checks import Finding
from pipeline.machine import living_nodes

TIMEOUT_S = 10.0


def check_dashboard(address: str) -> list[Finding]:
    """Looks at a cluster from outside.

    Args:
        address: Of the head's dashboard, such as http://head:8265.
    """
    import requests
    from ray.exceptions import AuthenticationError
    from ray.job_submission import JobSubmissionClient

    what = f"Ray {address}"
    try:
        stranger = requests.get(f"{address}/api/jobs/", timeout=TIMEOUT_S)
    except requests.RequestException as error:
        return [
            Finding(
                what=what,
                good=False,
                told=f"nothing answers ({type(error).__name__})",
                advice="start the head, forward its port 8265, or correct --address",
            )
        ]
    found = []
    if stranger.ok:
        found.append(
            Finding(
                what=f"{what} token",
                good=False,
                told="anybody can run anything on it",
                advice="start its nodes with RAY_AUTH_MODE=token (authOptions.mode: token in KubeRay)",
            )
        )
    else:
        found.append(Finding(what=f"{what} token", good=True, told="nobody gets in without"))
    try:
        client = JobSubmissionClient(address)
        there = str(client._do_request("GET", "/api/version").json()["ray_version"])
    except AuthenticationError:
        return [
            *found,
            Finding(
                what=what,
                good=False,
                told="it refuses this token",
                advice="set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's",
            ),
        ]
    except (RuntimeError, ConnectionError, requests.RequestException, ValueError, KeyError) as error:
        return [*found, Finding(what=what, good=False, told=str(error), advice="is this Ray's dashboard?")]
    return [*found, same_version(what, there, version("ray"))]


def same_version(what: str, there: str, here: str) -> Finding:
    """Compares a cluster's Ray with this process's; they must agree to the letter."""
    if there == here:
        return Finding(what=what, good=True, told=f"Ray {there}, as here")
    return Finding(
        what=what,
        good=False,
        told=f"Ray {there} there, {here} here",
        advice=f"install ray=={there} here, or use an image with {here} there",
    )


def check_nodes() -> list[Finding]:
    """Asks every node of the cluster that this process has joined; the clocks and Pythons must agree."""
    import time

    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def ask() -> tuple[str, str, float]:
        return platform.python_version(), version("ray"), time.time()

    nodes, found = living_nodes(), []
    for node in nodes:
        what = f"node {node['NodeManagerAddress']}"
        stay = NodeAffinitySchedulingStrategy(node_id=node["NodeID"], soft=False)
        before = time.time()
        remote = ray.remote(ask).options(num_cpus=0, scheduling_strategy=stay, max_retries=0).remote()
        try:
            python, ray_version, clock = ray.get(remote, timeout=60)
        except Exception as error:
            told = str(error).partition("\n")[0]
            found.append(Finding(what=what, good=False, told=told, advice="see `ray logs` of that node"))
            continue
        skew = max(before - clock, clock - time.time(), 0.0)
        good = python == platform.python_version() and ray_version == version("ray") and skew <= 30
        found.append(
            Finding(
                what=what,
                good=good,
                told=f"Python {python}, Ray {ray_version}, clock {skew:.0f} s off, {_resources(node)}",
                advice="" if good else "use one image for all nodes, and let NTP set their clocks",
            )
        )
    return found


def _resources(node: "dict[str, dict[str, float]]") -> str:
    given = node["Resources"]
    return f"{given.get('CPU', 0):g} CPUs, {given.get('GPU', 0):g} GPUs"
