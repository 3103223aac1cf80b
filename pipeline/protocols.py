"""Which images of a set count, by name: the other half of a protocol, beside how texts are compared."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """Images whose truth matches are evaluated; the others are left out and counted."""

    name: str
    says: str
    """What stays, for the report."""
    pattern: str
    """Regular expression that the whole truth, as stored, must match."""

    def keeps(self, text: str) -> bool:
        """Whether an image with this truth counts."""
        return re.fullmatch(self.pattern, text, re.DOTALL) is not None


FILTERS = {
    f.name: f
    for f in (
        Filter(name="all", says="every image", pattern=r".*"),
        Filter(name="alnum", says="truths of ASCII letters and digits only", pattern=r"[0-9A-Za-z]+"),
        Filter(
            name="alnum3",
            says="truths of at least 3 ASCII letters and digits and nothing else (IC03-860, IC13-857)",
            pattern=r"[0-9A-Za-z]{3,}",
        ),
    )
}

_NAME = r"\w[\w .:-]*"
"""What can name a set in files, in folders and in MLflow's metrics."""

PAPER_TABLE: Mapping[str, Mapping[str, float]] = {
    "CRNN (arXiv 2015)": {
        "IIIT5k 50": 97.6,
        "IIIT5k 1k": 94.4,
        "IIIT5k": 78.2,
        "SVT 50": 96.4,
        "SVT": 80.8,
        "IC03 50": 98.7,
        "IC03 Full": 97.6,
        "IC03 50k": 95.5,
        "IC03": 89.4,
        "IC13": 86.7,
    },
    "CRNN (TPAMI 2017)": {
        "IIIT5k 50": 97.8,
        "IIIT5k 1k": 95.0,
        "IIIT5k": 81.2,
        "SVT 50": 97.5,
        "SVT": 82.7,
        "IC03 50": 98.7,
        "IC03 Full": 98.0,
        "IC03 50k": 95.7,
        "IC03": 91.9,
        "IC13": 89.6,
    },
}
"""Word accuracy in % on the field's test sets, as the papers give it (arXiv 1507.05717, table 2)."""


def named_uris(pairs: Sequence[str], what: str) -> dict[str, str]:
    """`name=URI` pairs as a mapping, in their order.

    Raises:
        ConfigError: One isn't of that form, a name can't be a file's, or one comes twice.
    """
    found: dict[str, str] = {}
    for pair in pairs:
        name, separator, uri = pair.partition("=")
        if not separator or not name or not uri:
            raise ConfigError(f"{what} are given as name=URI; {pair!r} isn't. Example: svt=out/data/svt.")
        if not re.fullmatch(_NAME, name):
            raise ConfigError(
                f"{what}: {name!r} can't be a name. Files and metrics bear it: letters, digits, '_', '-', "
                "'.', ':' and spaces, with a letter, digit or '_' first."
            )
        if name in found:
            raise ConfigError(f"{what}: {name!r} is given twice; give each a name of its own.")
        found[name] = uri
    return found
