"""What Ray prints, where our own progress line takes its place."""

import logging
import os
import sys


def quiet_ray_data() -> None:
    """Keeps Ray Data's plans and progress off the terminal, whether it is imported already or not."""
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    if "ray.data" in sys.modules:  # which has read those
        from ray.data import DataContext

        DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
