from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.nightly.store_check import check_put_if_absent


def test_disks_and_s3_keep_put_if_absent_however_often_they_are_asked(tmp_path: Path, s3_bucket: str) -> None:
    for output in (str(tmp_path), s3_bucket):
        for _ in range(3):
            check_put_if_absent(output)


def test_a_store_that_drops_the_condition_is_refused(s3_server: Any, s3_bucket: str) -> None:
    s3_server.order({"kind": "drop_condition", "method": "PUT"})
    with pytest.raises(ConfigError, match="ignores If-None-Match"):
        check_put_if_absent(s3_bucket)
