"""Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): matrices move by orthogonalised momentum.

torch's own takes parameters of two dimensions only. This one takes convolutions too, and the stacked gates of
an LSTM apart; on plain matrices both do the same. Shapes: M matrices, R rows, C columns.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

_QUINTIC = (3.4445, -4.7750, 2.0315)
"""Jordan's: singular values come to lie near 1, between 0.7 and 1.2 most of them, in five steps."""
_STEPS = 5


def orthogonal(matrices_MRC: Tensor, *, bf16: bool = False) -> Tensor:
    """Each matrix with its singular values brought near 1, and its singular vectors kept.

    Args:
        matrices_MRC: float32.
        bf16: Computes in bf16, which is as good for steps and faster where the hardware has it.
    """
    x = matrices_MRC.bfloat16() if bf16 else matrices_MRC
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    a, b, c = _QUINTIC
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices_MRC.dtype)


class _Part(NamedTuple):
    """Matrices of one parameter, one below the other."""

    parameter: nn.Parameter
    momentum: Tensor
    matrices: int


class Muon(torch.optim.Optimizer):
    """Moves every matrix by the orthogonalised momentum of its gradient, Nesterov's.

    A convolution is a matrix with a row for each output channel. A group may say of how many matrices, one
    below the other, each of its parameters is made: an LSTM's weights are those of four gates. Where
    `found_inf` is set to a tensor that isn't 0, as torch's gradient scaler does, weights and momentum stay as
    they are, and nothing waits for the device. On GPUs the directions are computed in bf16.

    Args:
        groups: {"params": …, "matrices": 1, …}, as torch's optimisers take them.
        lr: Learning rate: a step changes a square matrix by about this in every direction.
        momentum: Of the gradients.
        weight_decay: Decoupled.

    Raises:
        ValueError: A parameter isn't made of so many matrices.
    """

    found_inf: Tensor | None = None

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "matrices": 1}
        super().__init__(groups, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim < 2 or not parameter.numel() or parameter.shape[0] % group["matrices"]:
                    shape = tuple(parameter.shape)
                    raise ValueError(f"{group['matrices']} matrices don't fit a parameter of shape {shape}.")

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # no closure: a step looks at one gradient
        """Moves the parameters that have a gradient."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[_Part]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    if not state:
                        state["momentum"] = torch.zeros_like(parameter)
                    part = _Part(parameter, state["momentum"], group["matrices"])
                    alike[parameter.shape].append(part)
            for parts in alike.values():
                self._move(parts, group["lr"], group["momentum"], group["weight_decay"])

    def _move(self, parts: list[_Part], rate: float, keep: float, decay: float) -> None:
        """Parameters of one shape, whose matrices are orthogonalised together."""
        gradients = [part.parameter.grad for part in parts if part.parameter.grad is not None]
        weights = [part.parameter for part in parts]
        momenta = [part.momentum for part in parts]
        step: float | Tensor = 1.0
        if self.found_inf is not None:
            refused = self.found_inf != 0
            gradients = [torch.where(refused, torch.zeros_like(g), g) for g in gradients]
            step = (~refused).float()
        for momentum, gradient in zip(momenta, gradients, strict=True):
            momentum.lerp_(gradient, (1.0 - keep) * step)
        updates = torch._foreach_lerp(gradients, momenta, keep)
        count = parts[0].matrices
        rows, columns = weights[0].shape[0] // count, weights[0][0].numel()
        stacked = torch.cat([update.reshape(count, rows, columns) for update in updates])
        moved = orthogonal(stacked, bf16=stacked.is_cuda) * (
            math.sqrt(max(1.0, rows / columns)) * rate * step
        )
        for weight, update in zip(weights, torch.split(moved, count), strict=True):
            weight.mul_(1.0 - rate * decay * step).sub_(update.reshape(weight.shape))
