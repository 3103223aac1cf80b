from dataclasses import replace
from pathlib import Path

import pytest

from crnn.checkpoint import DESCRIPTION, LANGUAGE, Bundle
from crnn.shipped import MODELS
from pipeline import bundles
from pipeline.bundles import save_bundle


def test_a_bundle_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    whole = Bundle.load(MODELS / "latin94-small")
    save_bundle(whole, str(tmp_path / "there"))
    assert Bundle.load(tmp_path / "there").fingerprint == whole.fingerprint
    save_bundle(whole.alone(), str(tmp_path / "there"))
    assert not (tmp_path / "there" / LANGUAGE).exists()
    assert Bundle.load(tmp_path / "there").language is None


def test_half_a_bundle_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(bundles, "upload", lambda path, uri: written.append(uri.rsplit("/", 1)[-1]))
    bundle = replace(Bundle.load(MODELS / "latin94-small"), provenance={})
    save_bundle(bundle, str(tmp_path / "there"))
    assert written[-1] == DESCRIPTION
    assert len(written) == 3
