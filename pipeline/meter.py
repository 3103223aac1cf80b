"""What the workers of a training run know of their steps, each for itself and all together."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from crnn.training import StepOutcome
from pipeline.memory import resident_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """What all workers know of the step that comes."""

    images: int
    """That it sees, on all workers together."""
    active: bool
    """Whether any worker has a pack left."""
    done: float
    """Share of the run that is behind it, by images or by time, whichever is further."""
    stop: bool
    """Whether to save and end here."""


class Meter:
    """What happened since the last line of the log, on this rank."""

    def __init__(self) -> None:
        self.started = time.perf_counter()
        self._cpu_s = time.process_time()
        self.steps = self.images = 0
        self.wait_s = self.learning_rate = 0.0
        self._loss_sum = self._grad_norm = torch.zeros(())

    def add(self, outcome: StepOutcome, images: int) -> None:
        """Adds one step, without a wait for its device."""
        self.steps += 1
        self.images += images
        loss_sum: Tensor = outcome.loss_sum.double()
        self._loss_sum = self._loss_sum + loss_sum if self.steps > 1 else loss_sum
        self._grad_norm, self.learning_rate = outcome.grad_norm, outcome.learning_rate

    def machine(self, elapsed_s: float, device: torch.device) -> dict[str, float]:
        """What this rank took of its machine, for MLflow's page of system metrics.

        Args:
            elapsed_s: Since the meter began.
            device: That it computes on.

        Returns:
            Cores that were busy for it, and memory in GB.
        """
        taken = {
            "system/cores": (time.process_time() - self._cpu_s) / max(elapsed_s, 1e-9),
            "system/memory_gb": resident_bytes() / 1e9,
        }
        if device.type == "cuda":
            taken["system/gpu_memory_gb"] = torch.cuda.max_memory_reserved(device) / 1e9
        return taken

    @property
    def loss_sum(self) -> float:
        """Of all images; waits for the device."""
        return float(self._loss_sum)

    @property
    def grad_norm(self) -> float:
        """Of the last step; waits for the device."""
        return float(self._grad_norm)
