"""Errors as botocore raises them: which may pass, and what a person is told of the others."""

import pytest
from aiohttp import ClientPayloadError
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

from pipeline.errors import BucketNotFoundError, ObjectChangedError, ObjectNotFoundError, StorageError
from pipeline.stores.s3_faults import error_code, explained, is_transient


def answer(code: str, status: int = 400) -> ClientError:
    """What botocore makes of an answer that is an error."""
    told = {"Error": {"Code": code, "Message": "so"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(told, "GetObject")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (answer("SlowDown", 503), True),
        (answer("RequestTimeout"), True),
        (answer("Unheard", 500), True),
        (answer("Unheard", 429), True),
        (answer("Unheard"), False),
        (answer("AccessDenied", 403), False),
        (answer("NoSuchKey", 404), False),
        (answer("PreconditionFailed", 412), False),
        (answer("ExpiredToken"), False),
        (EndpointConnectionError(endpoint_url="http://store"), True),
        (ClientPayloadError("short"), True),
        (ConnectionResetError(), True),
        (TimeoutError(), True),
        (NoCredentialsError(), False),
        (ValueError(), False),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(error: Exception, passes: bool) -> None:
    assert is_transient(error) == passes


@pytest.mark.parametrize(
    ("code", "kind", "advice"),
    [
        ("NoSuchBucket", BucketNotFoundError, "Check the bucket's name"),
        ("NoSuchKey", ObjectNotFoundError, "Check the path"),
        ("404", ObjectNotFoundError, "Check the path"),
        ("412", ObjectChangedError, "isn't the version that was listed"),
        ("AccessDenied", StorageError, "may not read it: check the role's policy"),
        ("InvalidAccessKeyId", StorageError, "Check AWS_ACCESS_KEY_ID"),
    ],
)
def test_an_error_says_what_where_and_what_to_do(code: str, kind: type[StorageError], advice: str) -> None:
    found = explained("s3://b/k", "read", answer(code))
    assert type(found) is kind
    assert str(found).startswith(f"Can't read s3://b/k: {code} (")
    assert advice in str(found)


def test_trouble_on_the_way_has_no_code_but_a_name() -> None:
    assert error_code(NoCredentialsError()) is None
    assert "NoCredentialsError" in str(explained("s3://b/k", "list", NoCredentialsError()))
