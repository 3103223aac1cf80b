"""Objects' bytes, many requests at a time and never too many bytes."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from pipeline.errors import BucketNotFoundError, ConfigError, ObjectChangedError, ObjectNotFoundError
from pipeline.storage import read_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchConfig:
    """How hard to pull."""

    requests: int = 16
    """Requests under way at a time."""
    bytes: int = 128 << 20
    """Bytes fetched and not yet taken; a larger object comes alone."""

    def __post_init__(self) -> None:
        if self.requests < 1 or self.bytes < 1:
            raise ConfigError(f"--fetch.requests and --fetch.bytes are at least 1; {self} isn't.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """A version of an object, as it was listed."""

    uri: str
    etag: str
    size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Gone:
    """Why the version that was listed is no longer there."""

    reason: str
    """deleted or changed."""
    detail: str


def fetch(wanted: Sequence[Wanted], config: FetchConfig) -> Generator[bytes | Gone, None, None]:
    """Fetches objects ahead of their use; results in their order.

    Raises:
        StorageError: A fault, which is never an object's result; what has not been fetched yet is left.
    """
    ahead: deque[tuple[int, Future[bytes | Gone]]] = deque()
    held = 0
    pool = ThreadPoolExecutor(config.requests, thread_name_prefix="fetch")
    try:
        remaining = iter(wanted)
        following = next(remaining, None)
        while ahead or following:
            while (
                following
                and len(ahead) < config.requests
                and (not ahead or held + following.size <= config.bytes)
            ):
                ahead.append((following.size, pool.submit(_fetch, following)))
                held += following.size
                following = next(remaining, None)
            size, result = ahead.popleft()
            yield result.result()
            held -= size
    finally:
        pool.shutdown(cancel_futures=True)


def _fetch(wanted: Wanted) -> bytes | Gone:
    try:
        return read_bytes(wanted.uri, etag=wanted.etag)
    except BucketNotFoundError:
        raise
    except ObjectNotFoundError as error:
        return Gone(reason="deleted", detail=str(error))
    except ObjectChangedError as error:
        return Gone(reason="changed", detail=str(error))
