"""The Ray Data graph of training: windows → packs, spread over the cluster, split over the workers."""

import random
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import pyarrow as pa
import ray
import ray.data
from ray.data import ExecutionResources
from ray.train import DataConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from pipeline.machine import cluster_resources, living_nodes
from pipeline.order import Part, Position, Window
from pipeline.pace import paced
from pipeline.packing import Packer

BLOCK_BYTES = 4 << 20
"""Target size of a block of packs: small, so that the first packs of a window travel while it is still
being decoded, and that no worker gets far more than another at the end."""
WAITING_BYTES = 256 << 20
"""Of packs that wait for a step, at most, for each of the cluster's CPUs, which makes up to one window at a
time: the feed of some seconds on a GPU, of minutes on a CPU. Without a limit Ray Data decodes ahead until its
store is full, on cores that a CPU's training needs."""


def training_feed(
    packer: Packer, windows: list[Window], consumed: Position, *, beside: int | None = None
) -> "ray.data.Dataset":
    """All packs of a run that haven't been consumed, each a row of PACK_SCHEMA, in the run's order.

    Args:
        packer: Makes them.
        windows: The order.
        consumed: What is left out.
        beside: Workers that may take all of the cluster's CPUs, as elastic ones do that need nothing else.
            The packs are made without asking for CPUs then, on as many as the workers leave of them all.
    """
    left = [window for window in windows if not consumed.is_complete(window.index)]
    rows = [{"window": w.index, "parts": [asdict(part) for part in w.parts]} for w in left]

    def packs(rows: pa.Table) -> Iterator[pa.Table]:
        for row in rows.to_pylist():
            window = Window(index=row["window"], parts=tuple(Part(**part) for part in row["parts"]))
            yield from packer.packs(window, skip=partial(consumed.is_consumed, window.index))

    with paced(target_max_block_size=BLOCK_BYTES):
        dataset = ray.data.from_items(rows, override_num_blocks=max(1, len(rows)))
        how: dict[str, Any] = {}
        if beside is not None:
            tasks = max(1, int(cluster_resources().get("CPU", 1)) - beside)
            how = {"num_cpus": 0, "concurrency": tasks, "ray_remote_args_fn": _on_a_node_that_computes}
        return dataset.map_batches(packs, batch_size=1, batch_format="pyarrow", **how)


def _on_a_node_that_computes() -> dict[str, Any]:
    """For tasks that ask for no CPUs, which Ray would give to nodes that are to have none."""
    nodes = [node for node in living_nodes() if node["Resources"].get("CPU")]
    if not nodes:
        return {}
    chosen = random.choice(nodes)["NodeID"]
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(chosen, soft=True)}


class UnevenSplit(DataConfig):
    """Gives every pack to exactly one worker, as each asks for more.

    Ray's own split makes the shares equal by dropping the remainder; the training loop copes with uneven
    shares instead, so that no image is lost.

    Args:
        waiting_bytes: Of packs that wait for a step, at most, for each of the cluster's CPUs.
    """

    def __init__(self, waiting_bytes: int = WAITING_BYTES) -> None:
        super().__init__()
        self._waiting_bytes = waiting_bytes

    def configure(
        self,
        datasets: dict[str, "ray.data.Dataset"],
        world_size: int,
        worker_handles: list[Any] | None,  # noqa: ARG002  # Ray calls by these names
        worker_node_ids: list[str] | None,
        **kwargs: Any,  # noqa: ARG002
    ) -> list[dict[str, "ray.data.DataIterator"]]:
        """As `DataConfig.configure`, with `equal=False` and the order kept."""
        shares: list[dict[str, ray.data.DataIterator]] = [{} for _ in range(world_size)]
        for name, dataset in datasets.items():
            options = self._resolve_execution_options(name)
            options.preserve_order = True
            cpus = int(cluster_resources().get("CPU", 1))
            options.resource_limits = ExecutionResources.for_limits(
                object_store_memory=self._waiting_bytes * cpus
            )
            dataset.context.execution_options = options
            splits = dataset.streaming_split(world_size, equal=False, locality_hints=worker_node_ids)
            for share, split in zip(shares, splits, strict=True):
                share[name] = split
        return shares
