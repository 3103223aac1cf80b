"""What the workers of a training run know of their steps, each for itself and all together."""

import time
from dataclasses import dataclass


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
        self.steps = self.images = 0
        self.loss_sum = self.wait_s = self.grad_norm = self.learning_rate = 0.0

    def add(self, loss_sum: float, images: int, grad_norm: float, learning_rate: float) -> None:
        """Adds one step."""
        self.steps += 1
        self.images += images
        self.loss_sum += loss_sum
        self.grad_norm, self.learning_rate = grad_norm, learning_rate
