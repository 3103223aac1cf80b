"""Images whose text is known, read along with every shard: a night that misreads them isn't published."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from crnn.errors import ImageRejectedError
from crnn.metrics import Counts
from crnn.preprocess import GreyImage
from crnn.recognizer import Recognizer
from pipeline.errors import ConfigError
from pipeline.lines import add
from pipeline.sources.lists import table
from pipeline.sources.samples import Sample, SourceError, SourceOptions

MOST = 2_000
A_SHARD = 16
"""Canaries that every shard reads at least, so that each recogniser of each node is watched."""
WORDS, CHARACTERS, EDITS, CONFIDENCE = (
    f"canaries/{name}" for name in ("words", "characters", "edits", "confidence")
)
"""Figures of a shard; confidence is a sum over words."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """An image whose text is known."""

    image: bytes
    text: str


def load_canaries(uri: str) -> tuple[Canary, ...]:
    """The canaries of an annotation `path, text`, as `jobs/ingest.py table` reads them.

    Raises:
        ConfigError: There is none, there are too many, or one of them isn't usable.
        StorageError: They can't be read.
    """
    found = []
    try:
        for part in table(SourceOptions(input=uri)):
            for entry in part.read():
                if not isinstance(entry, Sample):
                    raise ConfigError(f"--canaries {uri}: {entry.detail} ({entry.reason}). Take it out.")
                found.append(Canary(image=entry.image, text=entry.text))
    except SourceError as error:
        raise ConfigError(f"--canaries {uri}: {error}") from error
    if not 1 <= len(found) <= MOST:
        raise ConfigError(f"--canaries {uri} lists {len(found):,} images; give 1 to {MOST:,}.")
    return tuple(found)


def fingerprint(canaries: Sequence[Canary]) -> str:
    """16 hex digits that name these canaries."""
    digest = hashlib.sha256()
    for canary in canaries:
        for part in (canary.image, canary.text.encode()):
            digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def share(count: int, shard: int, shards: int) -> list[int]:
    """Which of the canaries a shard reads; all shards together read each at least once."""
    size = min(count, max(A_SHARD, -(-count // shards)))
    return [(shard * size + place) % count for place in range(size)]


class Aviary:
    """A recogniser's canaries, decoded where it runs: a decoder that has gone wrong there shows, too."""

    def __init__(self, recognizer: Recognizer, canaries: Sequence[Canary]) -> None:
        self._recognizer, self._canaries = recognizer, canaries
        self._lines = [_line(recognizer, canary) for canary in canaries]

    def watch(self, shard: int, shards: int, figures: dict[str, float]) -> None:
        """Reads a shard's canaries, and adds to its figures how well."""
        if not self._canaries:
            return
        normalize = self._recognizer.bundle.charset.normalize
        chosen = [
            (self._lines[i], normalize(self._canaries[i].text))
            for i in share(len(self._lines), shard, shards)
        ]
        read = iter(self._recognizer.recognise([line for line, _ in chosen if line is not None]))
        for line, text in chosen:
            hypothesis = None if line is None else next(read)
            counts = Counts.of(text, hypothesis.text if hypothesis else "")
            add(figures, WORDS, 1)
            add(figures, CHARACTERS, counts.characters)
            add(figures, EDITS, counts.edits)
            add(figures, CONFIDENCE, hypothesis.confidence if hypothesis else 0.0)


def _line(recognizer: Recognizer, canary: Canary) -> GreyImage | None:
    try:
        return recognizer.prepare(canary.image).pixels
    except ImageRejectedError:
        return None  # it could be read where the run began: all of its characters count as wrong


def cer(figures: dict[str, float]) -> float | None:
    """The canaries' character error rate; None where none were read."""
    return figures.get(EDITS, 0.0) / figures[CHARACTERS] if figures.get(CHARACTERS) else None


def confidence(figures: dict[str, float]) -> float | None:
    """The canaries' mean confidence; None where none were read."""
    return figures.get(CONFIDENCE, 0.0) / figures[WORDS] if figures.get(WORDS) else None


def alarm(figures: dict[str, float], *, max_cer: float, min_confidence: float) -> str | None:
    """What speaks against publishing; None where nothing does."""
    errors, trust = cer(figures), confidence(figures)
    if errors is not None and errors > max_cer:
        return f"the canaries' CER is {errors:.3f}, more than --max-canary-cer {max_cer:g}"
    if trust is not None and trust < min_confidence:
        bound = f"--min-canary-confidence {min_confidence:g}"
        return f"the canaries' mean confidence is {trust:.3f}, less than {bound}"
    return None
