"""How S3 is reached: by the environment, once a process."""

import os
from functools import lru_cache
from typing import Any


def region() -> dict[str, str]:
    """AWS_REGION, which botocore alone among the AWS libraries doesn't read."""
    name = os.environ.get("AWS_REGION")
    return {"region_name": name} if name else {}


@lru_cache
def _cached_connection(_process: int, region_name: str | None, _endpoint: str | None) -> Any:
    import s3fs

    return s3fs.S3FileSystem(
        skip_instance_cache=True,
        client_kwargs={"region_name": region_name} if region_name else {},
        config_kwargs={
            "retries": {"total_max_attempts": 1},
            "max_pool_connections": 64,
            "connect_timeout": 10,
            "read_timeout": 60,
        },
    )


def connection() -> Any:
    """One connection a process and endpoint (which botocore itself reads from the environment)."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3", os.environ.get("AWS_ENDPOINT_URL"))
    return _cached_connection(os.getpid(), region().get("region_name"), endpoint)
