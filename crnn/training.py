"""One training step in one process: loss, gradients, clipping, schedule, averaged weights.

A step never waits for its device: whether a gradient is finite is decided, acted upon and counted there, and
what a step returns are tensors there, to be read now and then.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from crnn.ctc import ctc_loss
from crnn.errors import ModelConfigError
from crnn.model import CRNN
from crnn.precision import Precision, allow_tf32, use_bf16


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerConfig:
    """How the weights move."""

    kind: Literal["adamw", "adadelta"] = "adamw"
    """adamw, or the paper's adadelta with rho 0.9."""
    learning_rate: float = 2e-3
    """Peak learning rate."""
    warmup: float = 0.05
    """Share of all images over which the rate climbs linearly to its peak."""
    decay: float = 1.0
    """Share of the images after the warm-up over which the rate falls; before that it stays at its peak."""
    final: float = 0.01
    """Rate at the end as a share of the peak, reached along a cosine; 1 keeps the peak."""
    weight_decay: float = 1e-2
    """Decoupled decay of matrices; biases and normalisation are left alone. adamw only."""
    clip_norm: float = 5.0
    """Gradients are scaled down to at most this norm."""
    ema_decay: float = 0.999
    """Per step decay of the averaged weights that are evaluated and shipped; 0 ships the last weights."""

    def __post_init__(self) -> None:
        if self.learning_rate <= 0 or self.clip_norm <= 0:
            raise ModelConfigError(f"learning_rate and clip_norm must be positive: {self}.")
        if not (0 <= self.warmup < 1 and 0 <= self.final <= 1 and 0 <= self.ema_decay < 1):
            raise ModelConfigError(f"warmup and ema_decay lie in [0, 1), final in [0, 1]: {self}.")
        if not 0 < self.decay <= 1:
            raise ModelConfigError(f"decay lies in (0, 1]: {self}.")

    def rate(self, progress: float) -> float:
        """Learning rate at `progress`, the share of the run already done."""
        if progress < self.warmup:
            return self.learning_rate * max(progress / self.warmup, 1e-3)
        falling = (1.0 - self.warmup) * self.decay
        after = min(1.0, max(0.0, 1.0 - (1.0 - progress) / falling))
        return self.learning_rate * (
            self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * after))
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """Images of one canonical width with their targets, on the device of the model."""

    images_NCHW: Tensor
    """uint8."""
    targets: Tensor
    """int [sum of lengths], classes without blanks."""
    target_lengths: Tensor
    """int [N], on the CPU."""

    @property
    def count(self) -> int:
        """Images."""
        return self.images_NCHW.shape[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOutcome:
    """What one step did on this process."""

    losses: Tensor
    """float32 [N], of this process's images, with the weights before the step."""
    grad_norm: Tensor
    """Norm of the global gradient before clipping; float32 scalar."""
    learning_rate: float
    applied: Tensor
    """False where the gradient wasn't finite: weights and batch-norm statistics are as they were. bool
    scalar."""

    @property
    def loss_sum(self) -> Tensor:
        """Sum of the losses, float32 scalar on the device."""
        return self.losses.sum()


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Steps whose gradient wasn't finite and that were not applied."""

    count: int
    """Since they were asked for before."""
    in_a_row: int
    """Of the last ones taken."""


class Learner:
    """A model with its optimiser and averaged weights.

    Args:
        model: What is called: the network, or the network wrapped in DistributedDataParallel.
        network: The bare network inside it.
        config: How the weights move.
        precision: As `crnn.precision`; loss, gradients and weights are fp32 in any case.
        world_size: Processes that share each step; wrapped models average gradients over them.
    """

    def __init__(
        self,
        model: nn.Module,
        network: CRNN,
        config: OptimizerConfig,
        *,
        precision: Precision = "auto",
        world_size: int = 1,
    ) -> None:
        self.model, self.network, self.config = model, network, config
        self.precision, self.world_size = precision, world_size
        self.steps = 0
        """Taken so far, with those that were refused."""
        device = next(network.parameters()).device
        if device.type == "cuda":
            allow_tf32()
        self._refused, self._in_a_row = torch.zeros(2, dtype=torch.int64, device=device)
        self.optimizer = _optimizer(network, config)
        self._parameters = list(network.parameters())
        self._buffers = list(network.buffers())
        self._before = [t.clone() for t in self._buffers]
        self.averaged = {name: t.detach().clone() for name, t in network.state_dict().items()}

    def step(self, *batches: Batch, global_count: int, progress: float) -> StepOutcome:
        """One update towards the mean loss over the `global_count` images of all processes.

        Each image weighs 1 / global_count wherever it is, so that processes may hold different numbers, in
        different numbers of batches. A gradient that isn't finite is not applied; it is the same on every
        process, and so is the decision.

        Args:
            batches: This process's, one at least; their gradients add up.
            global_count: Images of all processes' batches.
            progress: The share of the run already done.
        """
        rate = self._begin(progress)
        found = []
        for number, batch in enumerate(batches, start=1):
            with self._alone() if number < len(batches) else nullcontext():
                losses = self.losses(batch)
                # Wrapped models divide the summed gradients by world_size: multiply it back in.
                torch.autograd.backward(losses.sum() * (self.world_size / global_count))
            found.append(losses.detach())
        return self._apply(torch.cat(found), rate)

    def _alone(self) -> AbstractContextManager[None]:
        """Gradients inside the block wait for those of the next pass before they are shared."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def idle_step(self, batch: Batch, *, progress: float) -> StepOutcome:
        """Takes part in the other processes' step without adding to it, for one that has run out of data.

        Args:
            batch: Any batch; it weighs nothing and leaves the batch-norm statistics alone.
            progress: As in `step`.
        """
        rate = self._begin(progress)
        with frozen_batch_norm(self.network):
            torch.autograd.backward(self.losses(batch).sum() * 0.0)
        return self._apply(torch.zeros(0, device=batch.images_NCHW.device), rate)

    def _begin(self, progress: float) -> float:
        """Readies everything for a step, and returns its learning rate."""
        self.model.train()
        if self._buffers:
            torch._foreach_copy_(self._before, self._buffers)
        rate = self.config.rate(progress)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def losses(self, batch: Batch) -> Tensor:
        """CTC loss of each image, float32 [N]."""
        images = batch.images_NCHW.contiguous(memory_format=torch.channels_last)
        bf16 = use_bf16(self.precision, images.device)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            logits_NTV = self.model(images)
        return ctc_loss(logits_NTV, batch.targets, batch.target_lengths)

    def _apply(self, losses: Tensor, rate: float) -> StepOutcome:
        norm = nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm)
        applied = norm.isfinite()
        self._update(applied)
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(torch.where(applied, buffer, before))
        refused = (~applied).long()
        self._refused += refused
        self._in_a_row = (self._in_a_row + refused) * refused
        self.steps += 1
        self._average()
        self.optimizer.zero_grad(set_to_none=True)
        return StepOutcome(losses=losses, grad_norm=norm, learning_rate=rate, applied=applied)

    def _update(self, applied: Tensor) -> None:
        if self.config.kind == "adamw":
            # What torch's gradient scaler tells fused optimisers: 1 leaves weights and moments alone.
            self.optimizer.found_inf = (~applied).float()  # type: ignore[attr-defined]  # only the scaler's
            self.optimizer.step()
        elif applied:  # the paper's optimiser can't be told so, and waits for its device
            self.optimizer.step()

    def take_refused(self) -> Refused:
        """What was refused since this was called before; waits for the device."""
        count, in_a_row = torch.stack((self._refused, self._in_a_row)).tolist()
        self._refused.zero_()
        return Refused(count=count, in_a_row=in_a_row)

    @torch.no_grad()
    def _average(self) -> None:
        """Moves the averages towards the weights, which after a refused step are those from before it."""
        # Young averages forget fast, so that the first weights don't linger.
        decay = min(self.config.ema_decay, (1 + self.steps) / (10 + self.steps))
        current = self.network.state_dict()
        floating = [name for name, t in current.items() if t.is_floating_point()]
        torch._foreach_lerp_(
            [self.averaged[n] for n in floating], [current[n] for n in floating], 1.0 - decay
        )
        for name in current.keys() - set(floating):
            self.averaged[name].copy_(current[name])

    def state(self) -> dict[str, Any]:
        """All that a later process needs to go on exactly; tensors and plain values only."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "averaged": self.averaged,
            "steps": self.steps,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up a state from `state()`, on whatever device the network is."""
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, tensor in state["averaged"].items():
            self.averaged[name].copy_(tensor)
        self.steps = state["steps"]


@contextmanager
def frozen_batch_norm(network: nn.Module) -> Iterator[None]:
    """Batch norm uses its running statistics, and leaves them alone, inside the block."""
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()


def _optimizer(network: CRNN, config: OptimizerConfig) -> torch.optim.Optimizer:
    if config.kind == "adadelta":
        return torch.optim.Adadelta(network.parameters(), lr=config.learning_rate, rho=0.9)
    matrices = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": config.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.99), fused=True)
