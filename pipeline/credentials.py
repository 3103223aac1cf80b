"""What must not be said aloud: logs, MLflow, reports and dashboards show commands, settings and addresses."""

import re
from collections.abc import Iterable

from pipeline.errors import ConfigError

_IN_URI = re.compile(r"://[^/\s@]*:[^/\s@]+@")
INSTEAD = (
    "Give it through the environment instead: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
    "PGPASSWORD, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; on a cluster, that of its pods or machines."
)


def refuse_passwords(texts: Iterable[str], where: str) -> None:
    """Refuses texts with a password in a URI, as in http://me:password@host.

    Args:
        texts: Arguments or settings.
        where: What they are, for the message: which doesn't repeat them.

    Raises:
        ConfigError: One of them holds a password.
    """
    if any(_IN_URI.search(text) for text in texts):
        raise ConfigError(
            f"{where} holds a user's password in a URI, and everybody who sees logs, MLflow or the dashboard "
            f"would read it. {INSTEAD}"
        )
