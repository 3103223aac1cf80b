"""Ray Data prints nothing of its own once it was asked to be quiet, imported before or not."""

import subprocess
import sys

import pytest

RUN = """
{before}
from pipeline.ray_output import quiet_ray_data
quiet_ray_data()
import ray, ray.data
ray.init(num_cpus=1, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
print(ray.data.range(3).map_batches(lambda batch: batch).count())
"""


@pytest.mark.parametrize("before", ["", "import ray.data"])
def test_a_data_set_runs_without_a_word(before: str) -> None:
    code = RUN.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "3\n"
    assert not [line for line in done.stderr.splitlines() if "ataset" in line or "Progress" in line], (
        done.stderr
    )
