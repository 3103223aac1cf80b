"""The registry against a real MLflow server: bundles come back whole, and what is missing is named."""

import hashlib
import json
import pickle
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from crnn.charset import ALNUM36
from crnn.checkpoint import DESCRIPTION, WEIGHTS, Bundle
from crnn.errors import BundleError
from crnn.model import seeded
from crnn.networks import SMALL
from crnn.preprocess import PreprocessConfig
from crnn.recognizer import Recognizer
from pipeline import registry
from pipeline.errors import ModelNotFoundError, RegistryError
from pipeline.mlflow_run import mlflow_client
from pipeline.registry import (
    ResolvedModel,
    advance_alias,
    bundle_directory,
    register_bundle,
    resolve_model,
    set_alias,
)
from pipeline.storage import join, write_atomic
from pipeline.tracking import Tracker, TrackerConfig

MakeBundle = Callable[[int], Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Writes the bundle of an untrained network with weights of this seed."""

    def make(seed: int) -> Path:
        weights = seeded(SMALL, ALNUM36.num_classes, seed).state_dict()
        bundle = Bundle(network=SMALL, charset=ALNUM36, preprocess=PreprocessConfig(), weights=weights)
        directory = tmp_path / f"bundle-{seed}"
        replace(bundle, provenance={"seed": seed}).save(directory)
        return directory

    return make


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of bundles."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "crnn-pipeline"


@pytest.fixture
def name(mlflow_server: Any, request: pytest.FixtureRequest) -> str:
    """A model's name that no other test uses."""
    return str(request.node.name)[:60]


def test_a_registered_bundle_comes_back_byte_for_byte_by_alias_and_by_version(
    make_bundle: MakeBundle, name: str, cache: Path
) -> None:
    first = register_bundle(make_bundle(1), name, metrics={"word_accuracy": 0.5})
    second = register_bundle(make_bundle(2), name, metrics={"word_accuracy": 0.9}, tags={"data": "f00d"})
    set_alias(name, "champion", second)
    champion = resolve_model(f"models:/{name}@champion")
    assert (champion.name, champion.version) == (name, second)
    assert champion.uri == f"models:/{name}/{second}"
    assert champion.directory == cache / champion.digest
    for file in (DESCRIPTION, WEIGHTS):
        assert (champion.directory / file).read_bytes() == (make_bundle(2) / file).read_bytes()
    assert resolve_model(f"models:/{name}/{first}").digest == Bundle.load(make_bundle(1)).fingerprint
    set_alias(name, "champion", first)
    assert resolve_model(f"models:/{name}@champion").version == first
    tags = mlflow_client(registry.resolve_tracking_uri(None)).get_model_version(name, second).tags
    assert tags == {"fingerprint": champion.digest, "word_accuracy": "0.9", "data": "f00d"}


def test_registering_the_same_bundle_again_makes_no_second_version(
    make_bundle: MakeBundle, name: str
) -> None:
    assert register_bundle(make_bundle(1), name) == register_bundle(make_bundle(1), name) == "1"
    assert register_bundle(make_bundle(2), name) == "2"


def test_an_alias_that_only_advances_never_goes_back(make_bundle: MakeBundle, name: str) -> None:
    versions = [register_bundle(make_bundle(seed), name) for seed in range(11)]
    moved = [advance_alias(name, "candidate", versions[place]) for place in (0, 1, 0, 10, 1, 10)]
    assert moved == [True, True, False, True, False, True]  # 11 is later than 2
    assert resolve_model(f"models:/{name}@candidate").version == "11"


def test_a_version_knows_the_run_that_made_it(make_bundle: MakeBundle, name: str, mlflow_server: Any) -> None:
    client = mlflow_client(mlflow_server.uri)
    runs = [client.create_run("0").info.run_id for _ in range(2)]
    versions = [register_bundle(make_bundle(1), name, run_id=run) for run in runs]
    assert versions == ["1", "2"]
    assert [client.get_model_version(name, version).run_id for version in versions] == runs


def test_a_missing_alias_version_or_model_is_named_with_what_there_is(
    make_bundle: MakeBundle, name: str
) -> None:
    set_alias(name, "champion", register_bundle(make_bundle(1), name))
    register_bundle(make_bundle(2), name)
    with pytest.raises(ModelNotFoundError, match=r"no alias 'best'.*champion \(version 1\); versions: 1, 2"):
        resolve_model(f"models:/{name}@best")
    with pytest.raises(ModelNotFoundError, match=r"no version 9.*versions: 1, 2"):
        resolve_model(f"models:/{name}/9")
    with pytest.raises(ModelNotFoundError, match=r"no version 9"):
        set_alias(name, "champion", "9")
    with pytest.raises(ModelNotFoundError, match=rf"no registered model 'nobody'; registered are: .*{name}"):
        resolve_model("models:/nobody@champion")


@pytest.mark.parametrize(
    "model",
    [
        *("models:/crnn", "models:/crnn@", "models:/crnn/champion", "models:crnn/1"),
        *("models:/../crnn/1", "models:/crnn/../1", "models:/crnn@../champion", "models:/crnn/1/../.."),
    ],
)
def test_a_model_uri_of_another_form_is_refused(model: str) -> None:
    with pytest.raises(ModelNotFoundError, match="models:/name@alias or models:/name/version"):
        resolve_model(model)


def test_a_registry_that_does_not_answer_is_an_error_with_what_to_do(
    mlflow_server: Any, make_bundle: MakeBundle
) -> None:
    mlflow_server.kill()
    try:
        with pytest.raises(RegistryError, match=f"{mlflow_server.uri} can't do this .*run the same again"):
            register_bundle(make_bundle(1), "crnn")
        with pytest.raises(RegistryError, match="can't do this"):
            resolve_model("models:/crnn@champion")
    finally:
        mlflow_server.start()


def test_many_at_once_fetch_one_whole_bundle(make_bundle: MakeBundle, name: str, cache: Path) -> None:
    version = register_bundle(make_bundle(1), name)
    found: list[ResolvedModel] = []
    threads = [
        threading.Thread(target=lambda: found.append(resolve_model(f"models:/{name}/{version}")))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert [path.name for path in cache.iterdir()] == [found[0].digest]
    assert Bundle.load(found[0].directory).fingerprint == found[0].digest


def test_a_fetched_bundle_is_not_fetched_again(make_bundle: MakeBundle, s3_bucket: str) -> None:
    source = make_bundle(1)
    uri = join(s3_bucket, "models", "first")
    for file in (DESCRIPTION, WEIGHTS):
        write_atomic(join(uri, file), (source / file).read_bytes())
    first = resolve_model(uri)
    assert first.digest == first.version == Bundle.load(source).fingerprint
    write_atomic(join(uri, WEIGHTS), b"damaged meanwhile")
    assert resolve_model(uri + "/") == first


def test_a_damaged_bundle_in_a_bucket_is_refused_and_not_kept(
    make_bundle: MakeBundle, s3_bucket: str, cache: Path
) -> None:
    source = make_bundle(1)
    write_atomic(join(s3_bucket, "m", DESCRIPTION), (source / DESCRIPTION).read_bytes())
    write_atomic(join(s3_bucket, "m", WEIGHTS), (source / WEIGHTS).read_bytes()[:-1] + b"\0")
    with pytest.raises(BundleError, match="checksum"):
        resolve_model(join(s3_bucket, "m"))
    assert not list(cache.iterdir())
    with pytest.raises(ModelNotFoundError, match=r"no bundle at .*/none"):
        resolve_model(join(s3_bucket, "none"))


@pytest.mark.parametrize(
    "fingerprint", ["../../victim", "/etc", "", "0123456789ABCDEF", "0123456789abcdef/.."]
)
def test_a_fingerprint_that_could_name_another_folder_is_refused(
    make_bundle: MakeBundle, s3_bucket: str, cache: Path, fingerprint: str
) -> None:
    (cache.parent.parent / "victim").mkdir()
    record = json.loads((make_bundle(1) / DESCRIPTION).read_text()) | {"fingerprint": fingerprint}
    write_atomic(join(s3_bucket, "m", DESCRIPTION), json.dumps(record).encode())
    with pytest.raises(BundleError, match="no bundle's fingerprint"):
        resolve_model(join(s3_bucket, "m"))


def test_a_pickle_in_the_place_of_weights_is_refused_and_not_run(
    make_bundle: MakeBundle, tmp_path: Path
) -> None:
    class Malice:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "was here",))

    directory, weights = make_bundle(1), pickle.dumps(Malice())
    (directory / WEIGHTS).write_bytes(weights)
    record = json.loads((directory / DESCRIPTION).read_text())
    record["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    (directory / DESCRIPTION).write_text(json.dumps(record))
    with pytest.raises(BundleError, match="damaged"):
        resolve_model(str(directory))
    (directory / DESCRIPTION).write_bytes(weights)
    with pytest.raises(BundleError, match="damaged"):
        resolve_model(str(directory))
    assert not (tmp_path / "was here").exists()


def test_a_folder_is_taken_where_it_is(make_bundle: MakeBundle, tmp_path: Path, cache: Path) -> None:
    directory = make_bundle(3)
    found = resolve_model(str(directory))
    assert (found.name, found.directory, found.uri) == ("bundle-3", directory, str(directory))
    assert found.version == found.digest
    assert not cache.exists()
    with pytest.raises(ModelNotFoundError, match=r"no bundle in .*nowhere"):
        resolve_model(str(tmp_path / "nowhere"))


def test_something_that_is_no_bundle_is_not_registered(tmp_path: Path, name: str) -> None:
    with pytest.raises(BundleError):
        register_bundle(tmp_path, name)
    with pytest.raises(ModelNotFoundError):
        resolve_model(f"models:/{name}/1")


def test_a_recogniser_loads_from_the_registry_and_reads_as_from_its_folder(
    make_bundle: MakeBundle, name: str
) -> None:
    set_alias(name, "champion", register_bundle(make_bundle(1), name))
    image = np.random.default_rng(0).integers(0, 256, (32, 90), dtype=np.uint8)
    assert bundle_directory(f"models:/{name}@champion").is_dir()
    from_registry = Recognizer.load(f"models:/{name}@champion")([image])
    assert from_registry == Recognizer.load(make_bundle(1))([image])


def test_a_store_is_used_that_only_the_call_names(
    untrained_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/elsewhere/mlflow.db"
    tracker = Tracker(TrackerConfig(tracking_uri=uri, experiment="crnn", run_name="maker"))
    tracker.open_run()
    run_id = tracker.run_id(deadline_s=60)
    tracker.finish("FINISHED")
    versions = [
        register_bundle(untrained_bundle, f"m{i}", tracking_uri=uri, run_id=run)
        for i, run in enumerate([None, run_id])
    ]
    assert versions == ["1", "1"]
    found = [resolve_model(f"models:/m{i}/1", uri).digest for i in range(2)]
    assert found == [Bundle.load(untrained_bundle).fingerprint] * 2
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "elsewhere"]
