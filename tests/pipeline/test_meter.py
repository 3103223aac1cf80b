"""An interval of training adds up what it holds and tells the last of what it doesn't."""

import pytest

from pipeline.meter import Meter


def test_steps_images_and_losses_add_up_and_rates_are_the_last_ones() -> None:
    meter = Meter()
    meter.add(3.0, 2, grad_norm=9.0, learning_rate=0.1)
    meter.add(1.5, 1, grad_norm=4.0, learning_rate=0.2)
    assert (meter.steps, meter.images) == (2, 3)
    assert meter.loss_sum == pytest.approx(4.5)
    assert (meter.grad_norm, meter.learning_rate) == (4.0, 0.2)
    assert meter.wait_s == 0.0
