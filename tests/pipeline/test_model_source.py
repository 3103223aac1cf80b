"""What a worker gets that starts in the middle of a job: the job's own bundle, or a plain refusal."""

import threading
from pathlib import Path
from typing import Any

import pytest

from crnn.checkpoint import Bundle
from pipeline.errors import DataError, ModelNotFoundError, RegistryError
from pipeline.model_source import ModelSource
from pipeline.registry import register_bundle, resolve_model


@pytest.fixture
def source(
    untrained_bundle: Path, mlflow_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> ModelSource:
    """As a driver made it, for a machine that has fetched nothing."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "driver"))
    model = resolve_model(f"models:/sourced/{register_bundle(untrained_bundle, 'sourced')}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "worker"))
    return ModelSource.of("models:/sourced@champion", model, mlflow_server.uri)


def test_a_worker_waits_for_a_registry_that_is_out_of_reach(source: ModelSource, mlflow_server: Any) -> None:
    mlflow_server.kill()
    back = threading.Timer(3.0, mlflow_server.start)
    back.start()
    try:
        assert Bundle.load(source.fetch()).fingerprint == source.digest
    finally:
        back.join()
        mlflow_server.start()


def test_a_worker_asks_nobody_for_what_its_machine_has_kept(source: ModelSource, mlflow_server: Any) -> None:
    first = source.fetch()
    mlflow_server.kill()
    try:
        assert source.fetch(patience_s=0) == first
    finally:
        mlflow_server.start()


def test_a_worker_gives_up_in_the_end_and_at_once_where_waiting_helps_nobody(
    source: ModelSource, mlflow_server: Any
) -> None:
    missing = ModelSource(uri="models:/sourced/99", digest=source.digest, tracking_uri=mlflow_server.uri)
    with pytest.raises(ModelNotFoundError, match="no version 99"):
        missing.fetch()
    mlflow_server.kill()
    try:
        with pytest.raises(RegistryError, match="can't do this"):
            source.fetch(patience_s=0)
    finally:
        mlflow_server.start()


def test_a_folder_that_holds_another_model_on_a_worker_is_refused(
    untrained_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    other = ModelSource(uri=str(untrained_bundle), digest="0" * 16)
    with pytest.raises(DataError, match=r"on a worker and 0{16} where the job began"):
        other.fetch()
