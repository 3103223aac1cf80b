"""What moves the weights, how fast, and when not."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from crnn.errors import ModelConfigError
from crnn.model import CRNN
from crnn.muon import Muon

_GATES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """How the weights move."""

    kind: Literal["muon", "adamw", "adadelta"] = "muon"
    """muon: orthogonalised momentum for the matrices between the first and the last layer, adamw for the
    rest; adamw for all; or the paper's adadelta with rho 0.9."""
    learning_rate: float = 2e-3
    """Peak learning rate of adamw or adadelta."""
    matrix_rate: float = 0.02
    """Peak learning rate of the matrices. muon only."""
    warmup: float = 0.05
    """Share of all images over which the rates climb linearly to their peak."""
    decay: float = 1.0
    """Share of the images after the warm-up over which the rates fall; before that they stay at the peak."""
    final: float = 0.01
    """Rates at the end as a share of the peak, reached along a cosine; 1 keeps the peak."""
    weight_decay: float = 1e-2
    """Decoupled decay of matrices; biases and normalisation are left alone. Not adadelta's."""
    clip_norm: float = 5.0
    """Gradients are scaled down to at most this norm."""
    ema_decay: float = 0.999
    """Per step decay of the averaged weights that are evaluated and shipped; 0 ships the last weights."""
    intermediate: float = 0.0
    """Share of the loss that a branch behind the convolutions has, which is left behind: intermediate CTC."""

    def __post_init__(self) -> None:
        rates = self.learning_rate, self.matrix_rate
        if not (all(0 < rate < math.inf for rate in rates) and self.clip_norm > 0):
            raise ModelConfigError(f"learning_rate, matrix_rate and clip_norm must be positive: {self}.")
        if not 0 <= self.weight_decay < math.inf:
            raise ModelConfigError(f"weight_decay can't be below 0: {self}.")
        if not (0 <= self.warmup < 1 and 0 <= self.final <= 1 and 0 <= self.ema_decay < 1):
            raise ModelConfigError(f"warmup and ema_decay lie in [0, 1), final in [0, 1]: {self}.")
        if not (0 < self.decay <= 1 and 0 <= self.intermediate < 1):
            raise ModelConfigError(f"decay lies in (0, 1], intermediate in [0, 1): {self}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for files, without what only muon has where it isn't that, and without a branch where
        there is none: such runs have one description, whatever release describes them."""
        values = asdict(self)
        if self.kind != "muon":
            del values["matrix_rate"]
        if not self.intermediate:
            del values["intermediate"]
        return values

    def share(self, progress: float) -> float:
        """Share of their peaks that the rates have at `progress`, the share of the run already done."""
        if progress < self.warmup:
            return max(progress / self.warmup, 1e-3)
        falling = (1.0 - self.warmup) * self.decay
        after = min(1.0, max(0.0, 1.0 - (1.0 - progress) / falling))
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * after))

    def rate(self, progress: float) -> float:
        """Learning rate of adamw or adadelta at `progress`."""
        return self.learning_rate * self.share(progress)


class Optimizer:
    """Torch's optimisers of a network, one or two, as one.

    Args:
        network: Whose weights move.
        config: How.
        branch: Whose weights move besides, by adamw where there is muon.
    """

    def __init__(self, network: CRNN, config: OptimizerConfig, branch: nn.Module | None = None) -> None:
        self.config = config
        self.parts = _parts(network, config, branch)
        self._peaks = [group["lr"] for group in self._groups()]

    def step(self, progress: float, applied: Tensor) -> None:
        """Moves the weights by their gradients, or leaves all as it is where `applied` is False.

        Args:
            progress: The share of the run already done.
            applied: bool scalar on the device, which only adadelta waits for.
        """
        share = self.config.share(progress)
        for group, peak in zip(self._groups(), self._peaks, strict=True):
            group["lr"] = peak * share
        for name, part in self.parts.items():
            if name != "adadelta":
                # What torch's gradient scaler tells optimisers: 1 leaves weights and moments alone.
                part.found_inf = (~applied).float()  # type: ignore[attr-defined]  # only the scaler's
                part.step()
            elif applied:
                part.step()

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for part in self.parts.values():
            part.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """Of each optimiser, by name."""
        return {name: part.state_dict() for name, part in self.parts.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up a state from `state()`.

        Raises:
            ModelConfigError: It is of other optimisers.
        """
        if "param_groups" in state and len(self.parts) == 1:  # as checkpoints of format 1 have it
            state = {self.config.kind: state}
        if state.keys() != self.parts.keys():
            raise ModelConfigError(
                f"The checkpoint holds the state of {' and '.join(sorted(state))}; optimizer.kind "
                f"{self.config.kind} needs that of {' and '.join(sorted(self.parts))}. Go on with the kind "
                "that the run began with, or begin one of another --name with --start-from."
            )
        for name, part in self.parts.items():
            part.load_state_dict(state[name])

    def _groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts.values() for group in part.param_groups]


def _parts(
    network: CRNN, config: OptimizerConfig, branch: nn.Module | None
) -> dict[str, torch.optim.Optimizer]:
    every = [*network.parameters(), *(branch.parameters() if branch else ())]
    if config.kind == "adadelta":
        return {"adadelta": torch.optim.Adadelta(every, lr=config.learning_rate, rho=0.9)}
    gates, matrices = _inner(network) if config.kind == "muon" else ([], [])
    taken = {id(p) for p in (*gates, *matrices)}
    rest = [p for p in every if id(p) not in taken]
    groups = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
    if config.kind == "adamw":
        return {"adamw": adamw}
    inner: list[dict[str, Any]] = [{"params": matrices}, {"params": gates, "matrices": _GATES}]
    return {"adamw": adamw, "muon": Muon(inner, lr=config.matrix_rate, weight_decay=config.weight_decay)}


def _inner(network: CRNN) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The LSTMs' matrices, and all others between the first and the last layer."""
    gates = [p for p in network.lstms.parameters() if p.ndim > 1]
    layers = [*network.convolutions.parameters(), *network.linears.parameters()]
    return gates, [p for p in layers if p.ndim > 1][1:-1]
