"""One local Ray for all modules here that run on it in this process."""

from collections.abc import Iterator
from typing import Any

import pytest
import ray


@pytest.fixture(scope="session")
def local_ray(s3_server: Any) -> Iterator[None]:
    """Ray with 4 logical CPUs; its workers reach the S3 server and don't wait long for faults to pass."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment().items():
            patch.setenv(name, value)
        patch.setenv("STORAGE_PATIENCE_S", "1")
        ray.init(
            address="local", num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="error"
        )
        yield
        ray.shutdown()
