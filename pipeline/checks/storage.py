"""Is storage what the jobs rely on: readable, writable, and true to put-if-absent?"""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from pipeline.checks import Finding
from pipeline.errors import PipelineError, StorageError
from pipeline.storage import create_exclusive, delete, join, list_objects, read_bytes

FOLDER = "doctor"
"""Below the output: the objects written here are the checks' own."""
SKEW_S = 30.0
"""Leases expire by the clock; S3 itself refuses requests that are 15 minutes off."""


def check_storage(uri: str, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> list[Finding]:
    """Writes, reads and lists an object below a folder, tries to create it a second time, compares clocks.

    Args:
        uri: Folder or s3://bucket/prefix that a job is to write to.
        now: This machine's clock.
    """
    what, name, body = f"storage {uri}", secrets.token_hex(8), secrets.token_bytes(1024)
    target = join(uri, FOLDER, name)
    try:
        before = now()
        created = create_exclusive(target, body)
        after = now()
        again = create_exclusive(target, b"somebody else's")
        found = read_bytes(target)
        listed = [stored for stored in list_objects(join(uri, FOLDER)) if stored.key == name]
    except PipelineError as error:
        return [Finding(what=what, good=False, told=str(error))]
    conditional = "refuses to create what is there"
    if not created or again or found != body:
        return [
            Finding(
                what=what,
                good=False,
                told="an object was created twice: conditional writes (If-None-Match) are ignored",
                advice="use a store that keeps them; without them two runs can overwrite each other",
            )
        ]
    if len(listed) != 1:
        return [
            Finding(
                what=what,
                good=False,
                told="a new object is missing from the listing",
                advice="use a store with consistent listings; jobs would take it for undone work",
            )
        ]
    try:
        delete(target)
        left = "deletes"
    except StorageError:  # as the nightly job's role, which must not
        left = "may not delete"
    skew = _skew_s(listed[0].modified, before, after)
    return [
        Finding(what=what, good=True, told=f"reads, writes, lists, {conditional}, {left}"),
        Finding(
            what="clock",
            good=skew <= SKEW_S,
            told=f"{skew:.0f} s from storage's",
            advice="" if skew <= SKEW_S else "let NTP (chrony, systemd-timesyncd) set this machine's clock",
        ),
    ]


def _skew_s(modified: datetime, before: datetime, after: datetime) -> float:
    """Seconds by which a time lies outside of when it must have been; S3 tells whole seconds."""
    return max((before - modified).total_seconds() - 1, (modified - after).total_seconds(), 0.0)
