"""What can go wrong between storage and batches: every message says what, where and what to do."""


class PipelineError(Exception):
    """Base of the package's errors."""


class ConfigError(PipelineError, ValueError):
    """What was asked for can't work as it stands; trying again won't help."""


class StorageError(PipelineError):
    """An object can't be read, written or listed."""


class DataError(PipelineError):
    """A data set is missing, damaged, or of another schema version."""


class CheckpointError(PipelineError):
    """A training checkpoint can't be taken up."""


class TrackingError(PipelineError):
    """The tracking server can't be used where the job can't go on without it."""


class RegistryError(PipelineError):
    """A model, version or alias doesn't exist, or a bundle can't be registered or fetched."""
