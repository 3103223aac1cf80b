"""What can go wrong between storage and batches: every message says what, where and what to do."""


class PipelineError(Exception):
    """Base of the package's errors."""


class ConfigError(PipelineError, ValueError):
    """What was asked for can't work as it stands; trying again won't help."""


class StorageError(PipelineError):
    """An object can't be read, written or listed."""


class ObjectNotFoundError(StorageError):
    """No such object, folder or bucket."""


class BucketNotFoundError(ObjectNotFoundError):
    """The whole bucket is missing, which says nothing of the objects in it."""


class ObjectChangedError(StorageError):
    """The object isn't the one that was listed: its etag differs."""


class ObjectTooLargeError(StorageError):
    """An object has more bytes than the reader wants; none of them were read."""


class TransientStorageError(StorageError):
    """Storage kept failing for as long as it was worth waiting; running the job again later may help."""


class ShrunkError(StorageError):
    """So much is gone from a listing that it is suspected of being short."""


class LostTaskError(PipelineError):
    """The processes that worked at a task died, however often it was tried."""


class DataError(PipelineError):
    """A data set is missing, damaged, or of another schema version."""


class ManifestError(DataError):
    """A data set's manifest is missing, damaged, or doesn't belong to its shards."""


class UnpublishedError(PipelineError):
    """A run is not fit to be published as it stands."""


class LeaseHeldError(PipelineError):
    """Another run holds the lease of the output."""


class FencedError(PipelineError):
    """Another run took over: this one may publish no more."""


class CheckpointError(PipelineError):
    """A training checkpoint can't be taken up."""


class DivergedError(PipelineError):
    """A training run whose gradients aren't finite any more."""


class BatchCheckError(PipelineError):
    """A network can't learn one batch of its data by heart."""


class TrackingError(PipelineError):
    """The tracking server can't be used where the job can't go on without it."""


class RegistryError(PipelineError):
    """A bundle can't be registered or fetched."""


class ClusterError(PipelineError):
    """A Ray cluster refused a job, or its head is gone."""


class ModelNotFoundError(RegistryError):
    """No such model, version, alias or bundle; trying again won't help."""
