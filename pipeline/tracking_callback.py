"""Ray Train's reports → MLflow, from the controller; points only of checkpoints that are safely stored."""

import logging
from typing import Any

import ray.train
from ray.train.v2._internal.execution.callback import ControllerCallback

from pipeline.resume import HARDEST_TABLE
from pipeline.runs import CheckpointFiles
from pipeline.tracking import Tracker, TrackerConfig

log = logging.getLogger(__name__)

_CLOSING_S = 30.0
"""How long the controller waits for MLflow at its end, which may just be getting going on a busy machine."""


def send_checkpoint(files: CheckpointFiles, tracker: Tracker) -> None:
    """Sends the points and pictures of a checkpoint; those that MLflow has stay as they are.

    The table of the hardest words is replaced: send the last checkpoint last.
    """
    tracker.log_points(files.history())
    for (name, step), png in files.pictures().items():
        tracker.log_picture(f"validation/{name}", step, png)
    if hardest := files.hardest():
        tracker.log_picture("train/hardest", hardest.step, hardest.sheet)
        tracker.log_table(HARDEST_TABLE, hardest.columns)


class TrackingCallback(ray.train.UserCallback):
    """Sends each checkpoint's new metric points and pictures; never fails the run.

    Args:
        config: Of the tracker that the driver has opened the run with; a tracker of our own is opened here,
            since this object moves to the controller's process.
    """

    def __init__(self, config: TrackerConfig) -> None:
        self._config = config
        self._tracker: Tracker | None = None

    def after_report(
        self,
        run_context: Any,  # noqa: ARG002  # Ray calls by these names
        metrics: list[dict[str, Any]],  # noqa: ARG002
        checkpoint: "ray.train.Checkpoint | None",
    ) -> None:
        """Ray Train's hook: all ranks have reported and the checkpoint is stored."""
        if checkpoint is None:
            return
        try:
            self._tracker = self._tracker or Tracker(self._config)
            send_checkpoint(CheckpointFiles.of(checkpoint), self._tracker)
        except Exception:
            log.exception(
                "Metrics of this checkpoint were not sent to MLflow; the driver sends them at the end."
            )

    def flush(self) -> None:
        """Waits a while until MLflow has everything."""
        if self._tracker is not None:
            self._tracker.flush(_CLOSING_S)


class LastWords(ControllerCallback):
    """Keeps the controller, and its queue, from ending before MLflow has what was reported: pictures of
    checkpoints that aren't kept are nowhere else. Goes beside the callback in the same list."""

    def __init__(self, callback: TrackingCallback) -> None:
        self._callback = callback

    async def before_controller_shutdown(self) -> None:
        """Ray Train's hook: nothing is reported any more."""
        self._callback.flush()
