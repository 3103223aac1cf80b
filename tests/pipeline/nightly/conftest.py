"""What the tests of nights share."""

from pathlib import Path

import pytest

from tests.pipeline.nightly.corpus import Corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    corpus = Corpus(str(tmp_path))
    for key in ("a.png", "b c/ü.png", "z.txt"):
        corpus.write(key, key)
    return corpus
