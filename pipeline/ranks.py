"""Numbers that the workers of a training run tell each other, beside the gradients."""

from collections.abc import Sequence

import torch
import torch.distributed as dist


def sums(values: Sequence[float], group: dist.ProcessGroup | None) -> list[float]:
    """Sums over all ranks; a collective.

    Args:
        values: This rank's; as many on each.
        group: Of all ranks, or None for a single one.
    """
    if group is None:
        return [float(value) for value in values]
    tensor = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(tensor, group=group)
    return [float(value) for value in tensor.tolist()]


def of_ranks(values: Sequence[float], group: dist.ProcessGroup | None) -> list[list[float]]:
    """The values of each rank, in their order; a collective.

    Args:
        values: This rank's; as many on each.
        group: Of all ranks, or None for a single one.
    """
    rank, ranks = (0, 1) if group is None else (dist.get_rank(group), dist.get_world_size(group))
    before, after = rank * len(values), (ranks - 1 - rank) * len(values)
    flat = sums([0.0] * before + list(values) + [0.0] * after, group)
    return [flat[i : i + len(values)] for i in range(0, len(flat), len(values))]
