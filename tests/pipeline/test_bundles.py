from pathlib import Path

import pytest

from crnn.checkpoint import DESCRIPTION, LANGUAGE, Bundle
from crnn.errors import BundleError
from crnn.shipped import MODELS
from pipeline import bundles
from pipeline.bundles import save_bundle
from pipeline.errors import StorageError
from pipeline.storage import upload


def test_a_bundle_takes_the_place_of_the_one_before(tmp_path: Path) -> None:
    whole = Bundle.load(MODELS / "latin94-small")
    save_bundle(whole, str(tmp_path / "there"))
    assert Bundle.load(tmp_path / "there").fingerprint == whole.fingerprint
    save_bundle(whole.alone(), str(tmp_path / "there"))
    assert not (tmp_path / "there" / LANGUAGE).exists()
    assert Bundle.load(tmp_path / "there").language is None


@pytest.mark.parametrize("before", [False, True])
def test_half_a_bundle_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    if before:
        save_bundle(Bundle.load(MODELS / "latin94"), str(tmp_path))

    def full(path: Path, uri: str) -> None:
        if path.name == DESCRIPTION:
            raise StorageError("full")
        upload(path, uri)

    monkeypatch.setattr(bundles, "upload", full)
    with pytest.raises(StorageError, match="full"):
        save_bundle(Bundle.load(MODELS / "latin94-small"), str(tmp_path))
    with pytest.raises(BundleError):
        Bundle.load(tmp_path)
