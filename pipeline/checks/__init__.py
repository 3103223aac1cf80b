"""What a job takes for granted of a place, looked at before: each check is a sentence, none raises."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What a check found."""

    what: str
    """What was looked at."""
    good: bool
    told: str
    """What was found there."""
    advice: str = ""
    """What to do about it; empty where all is well."""
