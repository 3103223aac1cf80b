"""Ray Data's scheduling loop, kept from turning in place.

Where the consumer is the slowest part, as it should be, every task of a graph has a block ready that nobody
has room for, and the loop (Ray 2.60) turns without a pause: the better part of a core, which on a small
machine is the trainer's own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import sleep
from typing import TYPE_CHECKING, Any

from ray.data import DataContext
from ray.data._internal.execution.execution_callback import ExecutionCallback

if TYPE_CHECKING:
    from ray.data._internal.execution.streaming_executor import StreamingExecutor

STEP_S = 0.02
"""Pause between two turns of the loop. A turn takes whatever is ready, so that no rate suffers."""


class Pace(ExecutionCallback):
    """Waits a moment after each turn of the loop."""

    def on_execution_step(self, executor: "StreamingExecutor") -> None:  # noqa: ARG002  # Ray's name
        """As `ExecutionCallback`."""
        sleep(STEP_S)


@contextmanager
def paced(**settings: Any) -> Iterator[None]:
    """Data sets made inside the block run at this pace.

    Args:
        settings: Of their `ray.data.DataContext`, by name.
    """
    context = DataContext.get_current().copy()
    context.custom_execution_callback_classes = [*context.custom_execution_callback_classes, Pace]
    for name, value in settings.items():
        setattr(context, name, value)
    with DataContext.current(context):
        yield
