"""What befalls hosts while a job runs on them."""

import subprocess
import time
from collections.abc import Callable

from tests.cluster.conftest import Place
from tests.rays import kill


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
