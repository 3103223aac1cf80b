"""Passwords in URIs: refused without being repeated; what only looks like one passes."""

import pytest

from pipeline.credentials import refuse_passwords
from pipeline.errors import ConfigError


@pytest.mark.parametrize("text", ["http://me:s3cret@host", "--tracking=postgresql://u:s3cret@db:5432/x"])
def test_a_password_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ConfigError, match="The command line holds a user's password") as refused:
        refuse_passwords(["fine", text], "The command line")
    assert "s3cret" not in str(refused.value)


def test_what_holds_none_passes() -> None:
    refuse_passwords(["http://host:5000", "models:/crnn@champion", "http://me@host", "s3://b/a:b@c"], "It")
