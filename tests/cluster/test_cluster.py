"""A cluster of several hosts, with a store and MLflow on Postgres on hosts of their own: who may come in."""

import re
import sys

import pytest

from jobs.runtime import ExitCode
from tests.cluster.conftest import PROVED, Place
from tests.cluster.hosts import on

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


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
    assert submitted.wait(timeout=120) == ExitCode.BAD_CONFIG
    submitted.communicate()
    PROVED.append(("no token, wrong token", "dashboard, jobs API and GCS refuse from another host"))
