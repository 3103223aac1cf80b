"""Errors come out of other processes as they went in, and whoever catches the base catches all."""

import inspect
import pickle

import pytest

from crnn import errors
from crnn.errors import CRNNError, ImageRejectedError

KINDS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if kind is not ImageRejectedError]


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_travels_with_what_it_says(kind: type[CRNNError]) -> None:
    again = pickle.loads(pickle.dumps(kind("word.png: no image")))
    assert type(again) is kind
    assert isinstance(again, CRNNError)
    assert str(again) == "word.png: no image"


def test_a_rejected_image_travels_with_its_reason_and_detail_apart() -> None:
    again = pickle.loads(pickle.dumps(ImageRejectedError("too_large", "9 x 9,000,000 pixels")))
    assert (again.reason, again.detail) == ("too_large", "9 x 9,000,000 pixels")
    assert str(again) == "too_large: 9 x 9,000,000 pixels"
    assert isinstance(again, CRNNError)
