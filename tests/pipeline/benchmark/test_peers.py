"""Peers are measured where they are installed, and named where they aren't."""

from pathlib import Path

import pytest

from pipeline.benchmark import peers
from pipeline.benchmark.measure import Setting

QUICK = Setting(rounds=1, seconds=1e-3)


def test_a_peer_that_is_not_installed_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    assert list(peers.peers(QUICK)) == []
    assert "make peers" in caplog.text


def test_a_peer_that_is_installed_is_measured() -> None:
    if not (peers.ROOT / peers.TRDG).is_file():
        pytest.skip("needs TextRecognitionDataGenerator in an environment of its own: make peers")
    rows = list(peers.peers(QUICK))
    assert [row.name.partition(",")[0] for row in rows] == ["trdg"] * 3
    assert all(row.value > 0 for row in rows)
