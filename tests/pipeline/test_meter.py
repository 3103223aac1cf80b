"""An interval of training adds up what it holds and tells the last of what it doesn't."""

import pytest
import torch

from crnn.training import StepOutcome
from pipeline.meter import Meter


def outcome(losses: list[float], grad_norm: float, learning_rate: float) -> StepOutcome:
    return StepOutcome(
        losses=torch.tensor(losses),
        grad_norm=torch.tensor(grad_norm),
        learning_rate=learning_rate,
        applied=torch.tensor(True),
    )


def test_steps_images_and_losses_add_up_and_rates_are_the_last_ones() -> None:
    meter = Meter()
    assert (meter.loss_sum, meter.grad_norm) == (0.0, 0.0)
    meter.add(outcome([1.0, 2.0], 9.0, 0.1), 2)
    meter.add(outcome([1.5], 4.0, 0.2), 1)
    assert (meter.steps, meter.images) == (2, 3)
    assert meter.loss_sum == pytest.approx(4.5)
    assert (meter.grad_norm, meter.learning_rate) == (4.0, 0.2)
    assert meter.wait_s == 0.0
