"""What there is to compute with: this process's share of its machine, limits of the container included, and
the cluster that it has joined."""

import os
import tempfile
from pathlib import Path
from typing import Any

MIB = 1 << 20
CGROUP = Path("/sys/fs/cgroup")
SHARED_MEMORY = Path("/dev/shm")
_LEAST_RAY_CPUS = 4
"""A training worker and data tasks beside it must fit on any laptop."""


def available_cpus(cgroup: Path = CGROUP) -> int:
    """CPUs by the affinity mask and the container's quota, at least 1."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (cgroup / "cpu.max").read_text().split()
        return max(1, min(cpus, round(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroup v2, or a quota of "max"
        return cpus


def local_ray_cpus() -> int:
    """Logical CPUs that a local Ray is told to have."""
    return max(available_cpus(), _LEAST_RAY_CPUS)


def cluster_resources() -> dict[str, float]:
    """CPUs, GPUs and whatever else the nodes of the cluster have together by now; Ray must be connected."""
    import ray

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return resources


def living_nodes() -> list[dict[str, Any]]:
    """Ray's descriptions of the cluster's nodes, but of those that have gone; Ray must be connected."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def memory_bytes(cgroup: Path = CGROUP) -> int:
    """Memory by the machine's size and the container's limit."""
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(physical, int((cgroup / "memory.max").read_text()))
    except (OSError, ValueError):
        return physical


def shared_memory_bytes() -> int:
    """Bytes free in /dev/shm; 0 where there is none."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return 0
    return found.f_bavail * found.f_frsize


def object_store(memory: int, shared_memory: int) -> tuple[int, str | None]:
    """Size in bytes of a local object store, and the folder to map it from; None is /dev/shm.

    Args:
        memory: Bytes of memory the process may use.
        shared_memory: Bytes free in /dev/shm. Containers have 64 MiB by default, too little for batches of
            images: there the store is a mapped file.
    """
    size = min(memory * 3 // 10, 8192 * MIB)
    if shared_memory < 512 * MIB:
        return max(min(size, 2048 * MIB), 128 * MIB), tempfile.gettempdir()
    return max(min(size, shared_memory * 9 // 10), 128 * MIB), None
