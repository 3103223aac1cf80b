"""What befalls hosts while a job runs on them."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.cluster.conftest import Place
from tests.conftest import S3Server
from tests.rays import kill

OUT_OF_REACH_S = 60.0
"""How long MLflow is, while hosts are lost."""


def until(sign: Callable[[], object], job: "subprocess.Popen[str]") -> None:
    """Waits for a sign while a job runs."""
    while not sign():
        assert job.poll() is None, f"the job ended with {job.returncode}: {job.communicate()[0][-3000:]}"
        time.sleep(0.1)


def lose_two(
    place: Place, names: tuple[str, ...], job: "subprocess.Popen[str]", further: Callable[[], object]
) -> str:
    """Kills a host at work and replaces it; once the job got further, cuts another off, and names that."""
    until(lambda: place.at_work(names), job)
    kill(next(iter(place.at_work(names).values())))
    place.whole()
    until(further, job)
    until(lambda: place.at_work(names), job)
    cut = next(iter(place.at_work(names)))
    place.network.cut(cut)
    return cut


@contextmanager
def slow_store(place: Place, path: str) -> Iterator[None]:
    """Meanwhile the store takes ten seconds to give an object with this in its path."""
    server = S3Server(url=place.environment["AWS_ENDPOINT_URL"])
    server.order({"kind": "delay", "method": "GET", "path": path, "seconds": 10.0})
    try:
        yield
    finally:
        server.order()
