"""One training step in one process: loss, gradients, clipping, schedule, averaged weights.

A step never waits for its device: whether a gradient is finite is decided, acted upon and counted there, and
what a step returns are tensors there, to be read now and then.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from crnn.ctc import ctc_loss
from crnn.errors import ModelConfigError
from crnn.intermediate import Branched
from crnn.model import CRNN
from crnn.optimizer import Optimizer, OptimizerConfig
from crnn.precision import Precision, allow_tf32, use_bf16


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
    """As `OptimizerConfig.rate`."""
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
        network: What learns, on its device.
        config: How the weights move.
        precision: As `crnn.precision`; loss, gradients and weights are fp32 in any case.
        world_size: Processes that share each step; wrapped models average gradients over them.
        wrap: Makes the model that is called of the one that learns: DistributedDataParallel, with several
            processes.
    """

    def __init__(
        self,
        network: CRNN,
        config: OptimizerConfig,
        *,
        precision: Precision = "auto",
        world_size: int = 1,
        wrap: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        self.network, self.config = network, config
        self.precision, self.world_size = precision, world_size
        branched = Branched(network) if config.intermediate else None
        self._branch = branched.branch if branched else None
        whole: nn.Module = branched or network
        self.model = wrap(whole) if wrap else whole
        self.steps = 0
        """Taken so far, with those that were refused."""
        device = next(network.parameters()).device
        if device.type == "cuda":
            allow_tf32()
        self._refused, self._in_a_row = torch.zeros(2, dtype=torch.int64, device=device)
        self.optimizer = Optimizer(network, config, self._branch)
        self._parameters = list(whole.parameters())
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
        self._begin()
        found = []
        for number, batch in enumerate(batches, start=1):
            with self._alone() if number < len(batches) else nullcontext():
                losses, asked = self._losses(batch)
                # Wrapped models divide the summed gradients by world_size: multiply it back in.
                torch.autograd.backward(asked.sum() * (self.world_size / global_count))
            found.append(losses.detach())
        return self._apply(torch.cat(found), progress)

    def _alone(self) -> AbstractContextManager[None]:
        """Gradients inside the block wait for those of the next pass before they are shared."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()

    def idle_step(self, batch: Batch, *, progress: float) -> StepOutcome:
        """Takes part in the other processes' step without adding to it, for one that has run out of data.

        Args:
            batch: Any batch; it weighs nothing and leaves the batch-norm statistics alone.
            progress: As in `step`.
        """
        self._begin()
        with frozen_batch_norm(self.network):
            torch.autograd.backward(self._losses(batch)[1].sum() * 0.0)
        return self._apply(torch.zeros(0, device=batch.images_NCHW.device), progress)

    def _begin(self) -> None:
        """Readies everything for a step."""
        self.model.train()
        if self._buffers:
            torch._foreach_copy_(self._before, self._buffers)

    def losses(self, batch: Batch) -> Tensor:
        """CTC loss of each image, float32 [N]."""
        return self._losses(batch)[0]

    def finite(self, batch: Batch) -> Tensor:
        """Of which images all that is made small is finite, the branch's loss included; bool [N]."""
        return self._losses(batch)[1].isfinite()

    def _losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """CTC loss of each image, and what is made small: with a branch, its share of its own."""
        images = batch.images_NCHW.contiguous(memory_format=torch.channels_last)
        bf16 = use_bf16(self.precision, images.device)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=bf16):
            found = self.model(images)
        if self._branch is None:
            losses = ctc_loss(found, batch.targets, batch.target_lengths)
            return losses, losses
        losses, early = (ctc_loss(logits, batch.targets, batch.target_lengths) for logits in found)
        share = self.config.intermediate
        return losses, (1 - share) * losses + share * early

    def _apply(self, losses: Tensor, progress: float) -> StepOutcome:
        norm = nn.utils.clip_grad_norm_(self._parameters, self.config.clip_norm)
        applied = norm.isfinite()
        self.optimizer.step(progress, applied)
        for buffer, before in zip(self._buffers, self._before, strict=True):
            buffer.copy_(torch.where(applied, buffer, before))
        refused = (~applied).long()
        self._refused += refused
        self._in_a_row = (self._in_a_row + refused) * refused
        self.steps += 1
        self._average()
        self.optimizer.zero_grad()
        return StepOutcome(
            losses=losses, grad_norm=norm, learning_rate=self.config.rate(progress), applied=applied
        )

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
        state = {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state(),
            "averaged": self.averaged,
            "steps": self.steps,
        }
        return state | ({"branch": self._branch.state_dict()} if self._branch else {})

    def restore(self, state: Mapping[str, Any]) -> None:
        """Takes up a state from `state()`, on whatever device the network is.

        Raises:
            ModelConfigError: It is of other optimisers, or with a branch where this has none.
        """
        if ("branch" in state) != (self._branch is not None):
            raise ModelConfigError(
                f"The checkpoint is {'of' if 'branch' in state else 'without'} intermediate CTC; "
                f"optimizer.intermediate is {self.config.intermediate:g}. Go on with what the run began with."
            )
        self.network.load_state_dict(state["network"])
        if self._branch:
            self._branch.load_state_dict(state["branch"])
        self.optimizer.restore(state["optimizer"])
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
