"""Errors come out of Ray's workers as they went in, and jobs tell their kinds apart by their bases."""

import inspect
import pickle

import pytest

from pipeline import errors
from pipeline.errors import ObjectNotFoundError, PipelineError, StorageError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_travels_with_what_it_says(kind: type[PipelineError]) -> None:
    again = pickle.loads(pickle.dumps(kind("s3://bucket/key is damaged")))
    assert type(again) is kind
    assert isinstance(again, PipelineError)
    assert str(again) == "s3://bucket/key is damaged"


def test_whatever_may_pass_is_storages_and_a_missing_model_never_is() -> None:
    assert issubclass(errors.TransientStorageError, StorageError)
    assert issubclass(errors.BucketNotFoundError, ObjectNotFoundError)
    assert not issubclass(errors.ModelNotFoundError, StorageError)
