"""A model as a job's workers get it: pinned by the job's driver, the same on every machine.

A worker that starts in the middle of a job is no reason to end it: it asks again where MLflow or a store is
out of reach for a while, and asks nobody for a bundle that its machine has kept.
"""

import logging
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.bundle_cache import kept_bundle
from pipeline.errors import DataError, ModelNotFoundError, RegistryError
from pipeline.registry import ResolvedModel, resolve_model

PATIENCE_S = 300.0
PAUSE_S = 2.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSource:
    """Where every node finds the same bundle."""

    uri: str
    """A pinned models:/ URI, s3://… or a folder that every node sees."""
    digest: str
    """The bundle's fingerprint, as the driver found it."""
    tracking_uri: str | None = None
    """Of MLflow, absolute: a worker's working folder isn't the job's."""

    @classmethod
    def of(cls, asked: str, model: ResolvedModel, tracking_uri: str) -> "ModelSource":
        """Of a model as it was asked for and resolved on the driver."""
        # A bundle in a bucket is fetched by each node; the resolved folder is the driver's own copy.
        uri = asked if asked.startswith("s3://") else model.uri
        return cls(uri=uri, digest=model.digest, tracking_uri=tracking_uri)

    def fetch(self, patience_s: float = PATIENCE_S) -> Path:
        """The local folder with the bundle.

        Args:
            patience_s: Seconds to put up with a registry that doesn't answer.

        Raises:
            DataError: It is another bundle here than where the job began.
            ModelNotFoundError, BundleError, RegistryError, StorageError: It can't be fetched.
        """
        kept = kept_bundle(self.digest)
        if kept is not None:
            return kept
        found = self._ask(time.monotonic() + patience_s)
        if found.digest != self.digest:
            raise DataError(
                f"{self.uri} is {found.digest} on a worker and {self.digest} where the job began. Give a "
                "model that is the same on every node."
            )
        return found.directory

    def _ask(self, end: float) -> ResolvedModel:
        while True:
            try:
                return resolve_model(self.uri, self.tracking_uri)
            except ModelNotFoundError:
                raise
            except RegistryError as error:
                if time.monotonic() > end:
                    raise
                log.warning("Asking again for %s: %s", self.uri, error)
            time.sleep(PAUSE_S)
