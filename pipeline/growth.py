"""An idle cluster may have no machines: it is asked for them, and work is divided up when they are there."""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.machine import cluster_resources

PATIENCE_S, SETTLED_S = 1_200.0, 45.0
"""How long the first machine may take, and after how long without another no more are waited for."""
MOST_ASKED = 512
"""CPUs or GPUs that are asked for at most; the cluster's own limits are for its autoscaler to keep."""
_POLL_S = 1.0
"""Seconds between two looks: Ray tells nobody when a node joins."""

log = logging.getLogger(__name__)


@contextmanager
def machines(
    kind: str, count: int, *, patience_s: float = PATIENCE_S, settled_s: float = SETTLED_S
) -> Iterator[float]:
    """Asks the cluster that was joined for machines, and waits for them where it has none of this kind.

    Where some are there, nothing is waited for; where Ray runs on this machine alone, nobody is asked.

    Args:
        kind: CPU or GPU.
        count: How many are worth having; the request stands as long as the block runs.
        patience_s: After so many seconds without any the work begins all the same, and waits in Ray.
        settled_s: So many seconds without a further one are the end of waiting.

    Yields:
        How many there are.
    """
    from ray.autoscaler.sdk import request_resources

    if not os.environ.get("RAY_ADDRESS"):
        yield cluster_resources().get(kind, 0.0)
        return
    request_resources(bundles=[{kind: 1}] * min(count, MOST_ASKED))
    try:
        yield _settled(kind, count, patience_s, settled_s)
    finally:
        request_resources(bundles=[])


def _settled(kind: str, count: int, patience_s: float, settled_s: float) -> float:
    found = cluster_resources().get(kind, 0.0)
    if found:
        return found
    log.warning("The cluster has no %ss yet: waiting for up to %d of them.", kind, count)
    since, patience = time.monotonic(), patience_s
    while found < count and time.monotonic() - since < patience:
        time.sleep(_POLL_S)
        now = cluster_resources().get(kind, 0.0)
        if now > found:
            since, patience = time.monotonic(), settled_s
        found = now
    log.warning("The cluster has %g %ss now.", found, kind)
    return found
