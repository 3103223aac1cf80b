"""What went wrong with a request to S3: whether it may pass, and how to tell a person."""

from pipeline.errors import BucketNotFoundError, ObjectChangedError, ObjectNotFoundError, StorageError

TRANSIENT = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"}
TRANSIENT |= {
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
    "OperationAborted",
}
TRANSIENT |= {"ConditionalRequestConflict", "IncompleteBody", "BadDigest"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired", "400"}
"""400: an answer to HEAD has no body to say more in."""
MISSING = {"NoSuchKey", "NoSuchBucket", "NotFound", "404"}
CHANGED = {"PreconditionFailed", "412"}
DENIED = {"AccessDenied", "Forbidden", "403", "AllAccessDisabled"}


def error_code(error: Exception) -> str | None:
    """S3's own word for an error; None where the trouble was on the way."""
    response = getattr(error, "response", None)  # a botocore ClientError
    return response["Error"].get("Code") if isinstance(response, dict) and "Error" in response else None


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later."""
    from aiohttp import ClientError as ConnectionTrouble
    from botocore.exceptions import ConnectionError as BotocoreConnectionError
    from botocore.exceptions import HTTPClientError
    from botocore.parsers import ResponseParserError

    code = error_code(error)
    if code is None:
        passing = (HTTPClientError, BotocoreConnectionError, ConnectionTrouble, ResponseParserError)
        return isinstance(error, (*passing, ConnectionError, TimeoutError))
    status: int = error.response["ResponseMetadata"].get("HTTPStatusCode", 0)  # type: ignore[attr-defined]
    return code in TRANSIENT or status >= 500 or status == 429


def explained(uri: str, verb: str, error: Exception) -> StorageError:
    """The error that says what couldn't be done to which object, and what to look at.

    Args:
        uri: Of the object, or the folder.
        verb: What was tried, as in "Can't read …".
        error: What came of it, not transient.
    """
    code = error_code(error)
    told = f"Can't {verb} {uri}: {code or type(error).__name__} ({error})."
    if code == "NoSuchBucket":
        return BucketNotFoundError(f"{told} Check the bucket's name and AWS_ENDPOINT_URL.")
    if code in MISSING:
        return ObjectNotFoundError(f"{told} Check the path.")
    if code in CHANGED:
        return ObjectChangedError(f"{told} It isn't the version that was listed.")
    if code in DENIED:
        return StorageError(f"{told} These credentials may not {verb} it: check the role's policy.")
    return StorageError(
        f"{told} Check AWS_ACCESS_KEY_ID (or the machine's role), AWS_REGION, AWS_ENDPOINT_URL."
    )
