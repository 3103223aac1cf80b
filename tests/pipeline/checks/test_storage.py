"""Checks of storage on a real server; what a job sees of broken ones is in tests/jobs/test_doctor.py."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.checks.storage import check_storage


def test_a_clock_that_is_an_hour_off_is_told_from_storage(s3_bucket: str) -> None:
    off = check_storage(s3_bucket, lambda: datetime.now(UTC) - timedelta(hours=1))
    assert [finding.good for finding in off] == [True, False]
    assert off[1].told.startswith("3600 s") or off[1].told.startswith("3599 s")
    assert "NTP" in off[1].advice
    assert all(finding.good for finding in check_storage(s3_bucket))


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    check_storage(str(tmp_path))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("uri", ["s3://no-such-bucket-here/x", "ftp://host/x", "/proc/nowhere"])
def test_a_place_that_can_not_be_written_is_a_finding_rather_than_an_error(uri: str, s3_bucket: str) -> None:
    (finding,) = check_storage(uri)
    assert not finding.good
    assert uri.rsplit("://", maxsplit=1)[-1].split("/", maxsplit=1)[0] in finding.told
