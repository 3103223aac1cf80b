"""Fixtures that the whole suite shares."""

import os
from pathlib import Path

import pytest

# Ray's token authentication writes into the home folder; the suite must leave no trace there.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
# Worker processes inherit neither pytest's warning filters nor its patience for usage pings.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real photographs and annotation files beside the repository; skips where absent."""
    if not SHARED.is_dir():
        pytest.skip("needs ../shared (real photographs and annotation files), which is not here")
    return SHARED
