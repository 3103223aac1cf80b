"""Bundles: a round trip, and every kind of damage told apart."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from crnn.charset import ALNUM36, ALNUM36_DROP, LATIN94
from crnn.checkpoint import DESCRIPTION, LANGUAGE, WEIGHTS, Bundle
from crnn.errors import BundleError
from crnn.fusion import Fusion, FusionConfig
from crnn.language_model import CharacterModel
from crnn.model import seeded
from crnn.networks import RESIDUAL, SMALL
from crnn.preprocess import PreprocessConfig
from crnn.vocabulary import Vocabulary

CONFIG = FusionConfig(weight=0.25, sure=0.5)


def small_bundle(seed: int = 0) -> Bundle:
    weights = seeded(SMALL, ALNUM36.num_classes, seed).state_dict()
    return Bundle(network=SMALL, charset=ALNUM36, preprocess=PreprocessConfig(), weights=weights)


def test_a_saved_bundle_loads_as_it_was(tmp_path: Path) -> None:
    bundle = replace(small_bundle(), provenance={"recipe": "demo"}, calibration={"temperature": 1.5})
    bundle.save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert (loaded.network, loaded.charset, loaded.preprocess) == (SMALL, ALNUM36, PreprocessConfig())
    assert (loaded.provenance, loaded.calibration) == ({"recipe": "demo"}, {"temperature": 1.5})
    assert loaded.fingerprint == bundle.fingerprint
    image = torch.randint(0, 256, (1, 1, 32, 64), dtype=torch.uint8)
    with torch.inference_mode():
        assert torch.equal(loaded.model()(image), bundle.model()(image))


def test_a_network_with_shortcuts_comes_back_with_them(tmp_path: Path) -> None:
    weights = seeded(RESIDUAL, ALNUM36.num_classes, 0).state_dict()
    bundle = Bundle(network=RESIDUAL, charset=ALNUM36, preprocess=PreprocessConfig(), weights=weights)
    bundle.save(tmp_path)
    assert Bundle.load(tmp_path).network == RESIDUAL
    assert Bundle.load(tmp_path).fingerprint == bundle.fingerprint


def test_a_network_without_shortcuts_is_described_without_them(tmp_path: Path) -> None:
    small_bundle().save(tmp_path)
    assert "shortcut" not in (tmp_path / DESCRIPTION).read_text()


def fluent_bundle(words: tuple[str, ...] = ("street", "hotel")) -> Bundle:
    return replace(small_bundle(), language=Fusion(model=CharacterModel(words, ALNUM36)))


def test_a_language_model_travels_in_the_bundle(tmp_path: Path) -> None:
    bundle = replace(fluent_bundle(), language=Fusion(model=CharacterModel(["ab"], ALNUM36), config=CONFIG))
    bundle.save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert loaded.language is not None
    assert loaded.language.config == CONFIG
    assert loaded.language.model.log_prob("ab") == pytest.approx(
        CharacterModel(["ab"], ALNUM36).log_prob("ab"), abs=1e-2
    )
    assert loaded.fingerprint == bundle.fingerprint
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again" / LANGUAGE).read_bytes() == (tmp_path / LANGUAGE).read_bytes()
    small_bundle().save(tmp_path)  # in its place: nothing of the other is left
    assert not (tmp_path / LANGUAGE).exists()
    assert Bundle.load(tmp_path).language is None


def test_a_vocabulary_travels_beside_the_n_gram(tmp_path: Path) -> None:
    vocabulary = Vocabulary({"ab": 2.0, "abc": 1.0}, ALNUM36)
    config = FusionConfig(known=0.8)
    fusion = Fusion(model=CharacterModel(["ab"], ALNUM36), vocabulary=vocabulary, config=config)
    bundle = replace(fluent_bundle(), language=fusion)
    bundle.save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert loaded.fingerprint == bundle.fingerprint
    # Releases before vocabularies say that they can't read it, those after read what these wrote.
    versions = [json.loads((tmp_path / DESCRIPTION).read_text())["schema_version"]]
    fluent_bundle().save(tmp_path / "fluent")
    versions.append(json.loads((tmp_path / "fluent" / DESCRIPTION).read_text())["schema_version"])
    assert versions == [3, 2]
    assert loaded.language is not None
    assert loaded.language.config == config
    assert loaded.language.vocabulary is not None
    texts = ["ab", "abc", "b"]
    assert loaded.language.vocabulary.log_probs(texts).tolist() == vocabulary.log_probs(texts).tolist()
    other = replace(fusion, vocabulary=Vocabulary({"ab": 2.0}, ALNUM36))
    assert replace(bundle, language=other).fingerprint != bundle.fingerprint


def test_the_fingerprint_tells_language_models_and_their_weight() -> None:
    one = fluent_bundle()
    others = [
        small_bundle(),
        fluent_bundle(("else",)),
        replace(one, language=replace(one.language, config=CONFIG)),
    ]
    assert len({b.fingerprint for b in (one, *others)}) == 4


def test_a_language_model_that_is_damaged_missing_or_of_another_charset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="another charset"):
        replace(small_bundle(), language=Fusion(model=CharacterModel(["ab"], LATIN94)))
    fluent_bundle().save(tmp_path)
    data = (tmp_path / LANGUAGE).read_bytes()
    (tmp_path / LANGUAGE).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"language\.safetensors doesn't match its checksum"):
        Bundle.load(tmp_path)
    (tmp_path / LANGUAGE).unlink()
    with pytest.raises(BundleError, match="lacks language"):
        Bundle.load(tmp_path)
    (tmp_path / LANGUAGE).write_bytes(data)
    text = json.loads((tmp_path / DESCRIPTION).read_text())
    edit(tmp_path / DESCRIPTION, language=text["language"] | {"weight": 0.9})
    with pytest.raises(BundleError, match="changed after it was written"):
        Bundle.load(tmp_path)
    edit(tmp_path / DESCRIPTION, language=text["language"] | {"weight": -1})
    with pytest.raises(BundleError, match="damaged"):
        Bundle.load(tmp_path)


def test_confidences_of_the_network_alone_travel_beside_those_with_the_language_model(tmp_path: Path) -> None:
    whole, alone = {"temperature": 1.5}, {"temperature": 2.5}
    bundle = replace(fluent_bundle(), calibration=whole, calibration_alone=alone)
    bundle.save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert (loaded.calibration, loaded.calibration_alone) == (whole, alone)
    assert loaded.fingerprint == bundle.fingerprint != replace(bundle, calibration_alone={}).fingerprint
    bare = loaded.alone()
    assert (bare.language, bare.calibration, bare.calibration_alone) == (None, alone, {})
    assert replace(fluent_bundle(), calibration=whole).alone().calibration == whole
    with pytest.raises(BundleError, match="one way to read"):
        replace(bundle, language=None)


def test_only_a_bundle_with_confidences_of_the_network_alone_asks_for_a_release_that_knows_them(
    tmp_path: Path,
) -> None:
    bundle = replace(fluent_bundle(), calibration={"temperature": 1.5})
    for alone, version in (({}, 2), ({"temperature": 2.5}, 4)):
        replace(bundle, calibration_alone=alone).save(tmp_path)
        described = json.loads((tmp_path / DESCRIPTION).read_text())
        assert described["schema_version"] == version
        assert ("calibration_alone" in described) == bool(alone)


def test_a_charset_that_drops_others_asks_for_a_release_that_knows_such(tmp_path: Path) -> None:
    bundle = replace(small_bundle(), charset=ALNUM36_DROP)
    bundle.save(tmp_path)
    assert json.loads((tmp_path / DESCRIPTION).read_text())["schema_version"] == 4
    assert Bundle.load(tmp_path).charset == ALNUM36_DROP


def test_the_fingerprint_changes_with_what_changes_texts_and_with_nothing_else() -> None:
    bundle = small_bundle()
    assert replace(bundle, provenance={"note": "x"}).fingerprint == bundle.fingerprint
    others = [
        small_bundle(seed=1),
        replace(bundle, charset=replace(ALNUM36, unicode_form="NFKC")),
        replace(bundle, preprocess=PreprocessConfig(width_step=4)),
        replace(bundle, calibration={"temperature": 2.0}),
    ]
    assert len({b.fingerprint for b in [bundle, *others]}) == 5


def test_a_folder_without_a_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"is no bundle.*bundle\.json and weights"):
        Bundle.load(tmp_path)


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema_version": 1}, "schema 1; this release reads 2"),
        ({"charset": LATIN94.to_dict()}, "changed after it was written"),
        ({"preprocess": {"height": 48}}, "height"),
        ({"network": {}}, "damaged"),
        ({"weights_sha256": "0"}, "doesn't match its checksum"),
    ],
)
def test_a_changed_description_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    small_bundle().save(tmp_path)
    edit(tmp_path / DESCRIPTION, **changes)
    with pytest.raises(BundleError, match=message):
        Bundle.load(tmp_path)


@pytest.mark.parametrize("name", [DESCRIPTION, WEIGHTS])
def test_a_file_cut_short_is_refused(tmp_path: Path, name: str) -> None:
    small_bundle().save(tmp_path)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) // 2])
    with pytest.raises(BundleError, match="fetch the bundle again"):
        Bundle.load(tmp_path)


def test_weights_of_another_charset_are_refused() -> None:
    with pytest.raises(BundleError, match="95 classes"):
        replace(small_bundle(), charset=LATIN94).model()


def test_network_and_preprocessing_must_agree_on_the_height() -> None:
    with pytest.raises(BundleError, match="height"):
        replace(small_bundle(), preprocess=PreprocessConfig(height=48))
