"""Objects of S3 and of whatever speaks its protocol, and the only retries of the pipeline.

s3fs gives the connection and its event loop; requests name Bucket and Key outright, so that no key has to
survive being parsed as a path. botocore's own retries are off: one policy, here, decides.
"""

import asyncio
import hashlib
import logging
import os
import random
import re
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

from pipeline.errors import (
    BucketNotFoundError,
    ObjectChangedError,
    ObjectNotFoundError,
    StorageError,
    TransientStorageError,
)
from pipeline.stores import StoredObject, check_size
from pipeline.stores.s3_connection import connection, region
from pipeline.stores.s3_faults import EXPIRED, error_code, explained, is_transient

T = TypeVar("T")
Call = Callable[[Any], Awaitable[T]]

log = logging.getLogger(__name__)

_MD5 = re.compile("[0-9a-f]{32}")
MOST_BYTES_A_PUT = 5 << 30
PATIENCE_TOLD = 5
"""Failed tries after which a person is told, once, that a request is slow."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryConfig:
    """How long to put up with a fault that may pass."""

    patience_s: float = 300.0
    """Seconds from the first try after which a request is given up; environment: STORAGE_PATIENCE_S."""
    first_delay_s: float = 0.1
    """Longest wait before the second try; it doubles from try to try, and a random part of it is waited."""
    max_delay_s: float = 20.0
    """Longest wait between two tries."""

    @classmethod
    def from_env(cls) -> "RetryConfig":
        """The defaults, with what the environment says."""
        return cls(patience_s=float(os.environ.get("STORAGE_PATIENCE_S", cls().patience_s)))


class S3Store:
    """Endpoint, region and credentials come from the environment (or the machine's role) and nowhere else.

    Args:
        retry: When to give up.
    """

    def __init__(self, retry: RetryConfig | None = None) -> None:
        self.retry = retry or RetryConfig.from_env()
        self._fs = connection()

    def read(self, uri: str, etag: str | None = None, limit: int | None = None) -> bytes:
        """See `Store.read`.

        Where the etag is an MD5, as it is but for multipart uploads and KMS, it is held against the bytes. A
        store whose etags only look like one gives itself away by giving the same bytes twice.
        """
        bucket, key = split(uri)
        condition = {"IfMatch": f'"{etag}"'} if etag else {}
        doubted: list[str] = []

        async def get(s3: Any) -> bytes:
            answer = await s3.get_object(Bucket=bucket, Key=key, **condition)
            async with answer["Body"] as body:
                check_size(uri, answer["ContentLength"], limit)
                data: bytes = await body.read()
            if len(data) != answer["ContentLength"]:
                raise ConnectionError(f"{len(data)} of {answer['ContentLength']} bytes came")
            found = answer.get("ETag", "").strip('"')
            if etag and found != etag:  # an error may come with status 200
                raise ConnectionError(f"an answer without the etag asked for came: {data[:200]!r}")
            digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
            if _MD5.fullmatch(found) and digest != found and digest not in doubted:
                doubted.append(digest)
                raise ConnectionError(f"bytes came whose MD5 is {digest} where the etag is {found}")
            return data

        return self._call(uri, "read", get)

    def read_range(self, uri: str, start: int, length: int, etag: str) -> bytes:
        """See `Store.read_range`. No checksum of a part is known; its length and etag are verified."""
        bucket, key = split(uri)
        asked = {"Range": f"bytes={start}-{start + length - 1}", "IfMatch": f'"{etag}"'}

        async def get(s3: Any) -> bytes:
            answer = await s3.get_object(Bucket=bucket, Key=key, **asked)
            async with answer["Body"] as body:
                data: bytes = await body.read()
            if len(data) != length or answer.get("ETag", "").strip('"') != etag:
                raise ConnectionError(f"{len(data)} of {length} bytes came, of etag {answer.get('ETag')}")
            return data

        return self._call(uri, "read", get)

    def stat(self, uri: str) -> StoredObject:
        """See `Store.stat`."""
        bucket, key = split(uri)
        try:
            found = self._call(uri, "look for", lambda s3: s3.head_object(Bucket=bucket, Key=key))
        except ObjectNotFoundError:
            self._find(bucket)
            raise
        return StoredObject(
            uri=uri,
            key=key.rpartition("/")[2],
            size=found["ContentLength"],
            etag=found["ETag"].strip('"'),
            modified=found["LastModified"],
        )

    def write(self, uri: str, data: bytes) -> None:
        """See `Store.write`."""
        bucket, key = split(uri)
        self._call(uri, "write", lambda s3: s3.put_object(Bucket=bucket, Key=key, Body=data))

    def upload(self, path: Path, uri: str) -> None:
        """See `Store.upload`; one request, which S3 takes up to 5 GiB."""
        bucket, key = split(uri)
        if (size := path.stat().st_size) > MOST_BYTES_A_PUT:
            raise StorageError(f"{uri} would have {size:,} bytes; S3 takes {MOST_BYTES_A_PUT:,} at a time.")

        async def put(s3: Any) -> None:
            with path.open("rb") as file:
                await s3.put_object(Bucket=bucket, Key=key, Body=file)

        self._call(uri, "write", put)

    def create(self, uri: str, data: bytes) -> bool:
        """See `Store.create`. Where an answer got lost, the object itself tells who wrote it."""
        bucket, key = split(uri)
        writer = secrets.token_hex(16)
        put = {"Bucket": bucket, "Key": key, "Body": data, "IfNoneMatch": "*", "Metadata": {"writer": writer}}
        try:
            self._call(uri, "create", lambda s3: s3.put_object(**put))
        except ObjectChangedError:
            found = self._call(uri, "look for", lambda s3: s3.head_object(Bucket=bucket, Key=key))
            return bool(found["Metadata"].get("writer") == writer)
        return True

    def exists(self, uri: str) -> bool:
        """See `Store.exists`; a missing bucket is an error."""
        try:
            self.stat(uri)
        except BucketNotFoundError:
            raise
        except ObjectNotFoundError:
            return False
        return True

    def _find(self, bucket: str) -> None:
        """Raises where there is no such bucket: to a question about a key S3 gives the same answer then."""
        try:
            self._call(f"s3://{bucket}", "look for", lambda s3: s3.head_bucket(Bucket=bucket))
        except ObjectNotFoundError as error:
            raise BucketNotFoundError(f"{error} Check the bucket's name.") from error

    def list(self, folder_uri: str) -> Iterator[StoredObject]:
        """See `Store.list`. One page of 1,000 keys is held at a time; empty folder markers are left out.

        Whether a folder exists can't be told in S3: one with nothing below it lists as empty.

        Raises:
            StorageError: Also where pages contradict each other, so that a gap never passes for an absence.
        """
        bucket, prefix = split(folder_uri.rstrip("/") + "/")
        request = {"Bucket": bucket, "Prefix": prefix}
        last = b""
        while True:
            page = self._call(folder_uri, "list", lambda s3: s3.list_objects_v2(**request))
            for entry in page.get("Contents", []):
                key: str = entry["Key"]
                if not last < key.encode() or not key.startswith(prefix):
                    raise StorageError(f"{folder_uri}: the listing is out of order at {key!r}. Run again.")
                last = key.encode()
                if key.endswith("/") and entry["Size"] == 0:
                    continue
                yield StoredObject(
                    uri=f"s3://{bucket}/{key}",
                    key=key.removeprefix(prefix),
                    size=entry["Size"],
                    etag=entry["ETag"].strip('"'),
                    modified=entry["LastModified"],
                )
            if not page["IsTruncated"]:
                return
            if not page.get("NextContinuationToken"):
                raise StorageError(f"{folder_uri}: the listing breaks off after {last!r}. Run again.")
            request["ContinuationToken"] = page["NextContinuationToken"]

    def delete(self, uri: str) -> None:
        """See `Store.delete`."""
        bucket, key = split(uri)
        self._call(uri, "delete", lambda s3: s3.delete_object(Bucket=bucket, Key=key))

    def filesystem(self, uri: str) -> tuple[FileSystem, str]:
        """See `Store.filesystem`; pickled, it carries no credentials."""
        import s3fs

        shared = s3fs.S3FileSystem(
            use_listings_cache=False,
            client_kwargs=region(),
            config_kwargs={"retries": {"mode": "standard", "max_attempts": 8}},
        )
        return PyFileSystem(FSSpecHandler(shared)), "/".join(split(uri))

    def _call(self, uri: str, verb: str, call: Call[T]) -> T:
        from fsspec.asyn import sync

        result: T = sync(self._fs.loop, self._persist, uri, verb, call)
        return result

    async def _persist(self, uri: str, verb: str, call: Call[T]) -> T:
        """Makes a request until it succeeds, fails for good, or patience ends."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.retry.patience_s
        delay, tries, refreshed = self.retry.first_delay_s, 0, False
        while True:
            try:
                return await call(await self._fs.set_session())
            except Exception as error:
                if isinstance(error, StorageError):
                    raise
                code = error_code(error)
                if code in EXPIRED and not refreshed:
                    refreshed = True
                    await self._fs.set_session(refresh=True)
                    continue
                if not is_transient(error):
                    raise explained(uri, verb, error) from error
                if loop.time() + delay > end:
                    raise TransientStorageError(
                        f"Can't {verb} {uri}: {code or type(error).__name__} for {self.retry.patience_s:g} s "
                        f"({error}). Check the store's health and run the job again."
                    ) from error
                tries += 1
                told = logging.WARNING if tries == PATIENCE_TOLD else logging.DEBUG
                log.log(
                    told,
                    "Can't %s %s yet (%s): trying on for up to %g s",
                    verb,
                    uri,
                    error,
                    end - loop.time(),
                )
            await asyncio.sleep(random.uniform(delay / 2, delay))
            delay = min(2 * delay, self.retry.max_delay_s)


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI; the key is taken as it stands.

    Raises:
        StorageError: There is no bucket in it.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    if not bucket:
        raise StorageError(f"{uri!r} names no bucket. Write s3://bucket/folder.")
    return bucket, key
