"""The model registry: bundles in, versions out, and from whatever names a model to a folder with its bundle.

models:/crnn@champion    a registered model by alias
models:/crnn/3           by version
s3://bucket/prefix       a bundle in a bucket
out/bundle               a bundle on this machine
latin94-small            one that comes with the package

Bundles are registered as plain artifacts, not in one of MLflow's formats: they execute nothing when loaded.
"""

import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crnn.checkpoint import DESCRIPTION, Bundle
from crnn.errors import BundleError
from crnn.shipped import bundle_folder, shipped_models
from pipeline.bundle_cache import cached, fingerprint_of, keep
from pipeline.errors import ModelNotFoundError, ObjectNotFoundError, RegistryError
from pipeline.mlflow_run import experiment_id, mlflow_client, resolve_tracking_uri
from pipeline.storage import join, local_copy, read_bytes

FINGERPRINT_TAG = "fingerprint"
MODEL_URI = re.compile(r"models:/+(?P<name>[^/@]+)(?:@(?P<alias>[\w-]+)|/(?P<version>\d+))")


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedModel:
    """A model pinned: the same words always get the same texts from it."""

    name: str
    """Of the registered model, or of the folder."""
    version: str
    """In the registry; the digest for bundles that aren't registered."""
    digest: str
    """The bundle's fingerprint, or that of what a job makes of it."""
    directory: Path
    """Local folder with the bundle; not to be written to."""

    @property
    def title(self) -> str:
        """For a person."""
        version = "" if self.version == self.digest else f"version {self.version} "
        return f"{self.name} {version}({self.digest})"

    @property
    def uri(self) -> str:
        """What resolves to this very model again, on another machine too where it is registered."""
        if shipped_models().get(self.name) == self.directory:
            return self.name
        return str(self.directory) if self.version == self.digest else f"models:/{self.name}/{self.version}"


def register_bundle(
    directory: Path | str,
    name: str,
    *,
    tracking_uri: str | None = None,
    run_id: str | None = None,
    experiment: str = "crnn",
    metrics: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    description: str | None = None,
) -> str:
    """Makes a bundle a version of a registered model; the same bundle of the same run stays one version.

    Args:
        directory: The bundle.
        name: Of the registered model, which is made where it doesn't exist.
        tracking_uri: Of MLflow; see `resolve_tracking_uri`.
        run_id: The run that made it.
        experiment: MLflow experiment to list the model in.
        metrics: What is known of it, such as its word accuracy on held-out data.
        tags: Anything else worth knowing.
        description: The same for people, in a line.

    Returns:
        The version.

    Raises:
        BundleError: No sound bundle there.
        RegistryError: MLflow refused or doesn't answer.
    """
    fingerprint = Bundle.load(directory).fingerprint
    uri = resolve_tracking_uri(tracking_uri)
    told = {
        FINGERPRINT_TAG: fingerprint,
        **(tags or {}),
        **{k: f"{v:.6g}" for k, v in (metrics or {}).items()},
    }
    with _asking(uri) as client:
        _ensure_registered(client, name)
        for found in client.search_model_versions(f"name='{name}'"):
            if found.tags.get(FINGERPRINT_TAG) == fingerprint and found.run_id == (run_id or found.run_id):
                return str(found.version)
        model = client.create_logged_model(
            experiment_id(client, uri, experiment), name=name, source_run_id=run_id, tags=told
        )
        client.log_model_artifacts(model.model_id, str(directory))
        model = client.finalize_logged_model(model.model_id, "READY")
        # A server wants the model itself as the source. In this process MLflow would look a models:/ URI, or
        # a model without its run, up in the process's own store, whatever the client's is.
        served = uri.startswith("http")
        version = client.create_model_version(
            name,
            model.model_uri if served else model.artifact_location,
            run_id=run_id,
            tags=told,
            description=description,
            model_id=model.model_id if served or run_id else None,
        )
        return str(version.version)


def set_alias(name: str, alias: str, version: str, *, tracking_uri: str | None = None) -> None:
    """Points an alias, such as champion, at a version.

    Raises:
        ModelNotFoundError: There is no such version; those that exist are named.
        RegistryError: MLflow refused or doesn't answer.
    """
    with _asking(resolve_tracking_uri(tracking_uri)) as client:
        _version(client, name, version=version)
        client.set_registered_model_alias(name, alias, version)


def advance_alias(name: str, alias: str, version: str, *, tracking_uri: str | None = None) -> bool:
    """Points an alias at a version unless it points at a later one; whether it points at this one now.

    Raises:
        RegistryError: MLflow refused or doesn't answer.
    """
    with _asking(resolve_tracking_uri(tracking_uri)) as client:
        latest = client.get_registered_model(name).aliases.get(alias, "0")
        if int(latest) > int(version):
            return False
        client.set_registered_model_alias(name, alias, version)
        return True


def resolve_model(model: str, tracking_uri: str | None = None) -> ResolvedModel:
    """Pins a model and fetches its bundle, once per machine.

    Args:
        model: models:/name@alias, models:/name/version, s3://…, a folder, or the name of a shipped model.
        tracking_uri: Of MLflow; see `resolve_tracking_uri`.

    Raises:
        ModelNotFoundError: It doesn't exist; what does is named.
        BundleError: What was found is no sound bundle.
        RegistryError, StorageError: It can't be fetched.
    """
    if model.startswith("models:"):
        return _resolve_registered(model, resolve_tracking_uri(tracking_uri))
    name = model.rstrip("/").rsplit("/", 1)[-1]
    if "://" not in model:
        directory = bundle_folder(model).absolute()
        digest = fingerprint_of(directory)
        return ResolvedModel(name=name, version=digest, digest=digest, directory=directory)
    try:
        digest = str(json.loads(read_bytes(join(model, DESCRIPTION)))["fingerprint"])
    except ObjectNotFoundError as error:
        raise ModelNotFoundError(f"There is no bundle at {model}: it holds no {DESCRIPTION}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError(f"{join(model, DESCRIPTION)} is damaged; write the bundle again.") from error
    directory = cached(digest)
    if not directory.is_dir():
        with local_copy(model.rstrip("/") + "/") as copy:
            keep(copy, directory)
    return ResolvedModel(name=name, version=digest, digest=digest, directory=directory)


def bundle_directory(uri: str) -> Path:
    """The local folder of a model's bundle: what lets `crnn.Recognizer.load` take URIs."""
    return resolve_model(uri).directory


def _resolve_registered(model: str, tracking_uri: str) -> ResolvedModel:
    parts = MODEL_URI.fullmatch(model)
    if parts is None:
        raise ModelNotFoundError(f"{model} isn't models:/name@alias or models:/name/version.")
    with _asking(tracking_uri) as client:
        found = _version(client, parts["name"], alias=parts["alias"], version=parts["version"])
        digest = found.tags.get(FINGERPRINT_TAG)
        if digest is None:
            raise RegistryError(
                f"{model} was not registered by this pipeline (it has no {FINGERPRINT_TAG}); "
                "register its bundle with jobs/train.py or register_bundle."
            )
        directory = cached(digest)
        if not directory.is_dir():
            from mlflow.artifacts import download_artifacts

            with tempfile.TemporaryDirectory() as folder:
                download_artifacts(
                    artifact_uri=client.get_model_version_download_uri(found.name, found.version),
                    dst_path=folder,
                    tracking_uri=tracking_uri,
                    registry_uri=tracking_uri,
                )
                for description in Path(folder).rglob(DESCRIPTION):
                    keep(description.parent, directory)
    if not directory.is_dir():
        raise RegistryError(f"The artifacts of {model} hold no {DESCRIPTION}; register its bundle again.")
    return ResolvedModel(name=found.name, version=str(found.version), digest=digest, directory=directory)


def _version(client: Any, name: str, *, alias: str | None = None, version: str | None = None) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        registered = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        names = ", ".join(sorted(m.name for m in client.search_registered_models())) or "none"
        raise ModelNotFoundError(
            f"There is no registered model {name!r}; registered are: {names}. jobs/train.py registers one."
        ) from error
    aliases = {key: str(value) for key, value in registered.aliases.items()}
    wanted = version if alias is None else aliases.get(alias)
    versions = {str(found.version): found for found in client.search_model_versions(f"name='{name}'")}
    if wanted not in versions:
        missing = f"version {version}" if alias is None else f"alias {alias!r}"
        told = ", ".join(f"{key} (version {value})" for key, value in sorted(aliases.items())) or "no aliases"
        listed = ", ".join(sorted(versions, key=int)) or "none"
        raise ModelNotFoundError(f"Model {name!r} has no {missing}. It has {told}; versions: {listed}.")
    return versions[wanted]


def _ensure_registered(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


@contextmanager
def _asking(tracking_uri: str) -> Iterator[Any]:
    """A client; whatever MLflow raises becomes a RegistryError."""
    client = mlflow_client(tracking_uri)
    from mlflow.exceptions import MlflowException

    try:
        yield client
    except MlflowException as error:
        cause = str(error).partition("\n")[0][:300]
        raise RegistryError(
            f"The model registry at {tracking_uri} can't do this ({cause}). "
            "Check that MLflow answers there, then run the same again."
        ) from error
