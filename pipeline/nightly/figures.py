"""What of a run only its driver knows."""

from dataclasses import dataclass

from pipeline.lines import DECODE_S, FETCH_S, RECOGNISE_S
from pipeline.listing import ListingFacts
from pipeline.transcripts import READ

BUSY = 0.8
"""Share of the time from which on the recognisers are what everything waits for."""
LEAST_SECONDS = 10.0
"""Of steady work from which on that can be told: in a shorter run everything waits for what still starts."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What of a run only its driver knows."""

    run: str
    model: str
    facts: ListingFacts
    outcomes: tuple[tuple[str, str, int], ...]
    """(status, reason, rows)."""
    images: int
    """Read by the start of the run that published it."""
    seconds: float
    """What they took, Ray's start included."""
    steady: tuple[int, float]
    """As `pipeline.nightly.pace.steady`."""
    recognisers: int
    """Places for them; 0 where nothing was recognised."""
    measured: dict[str, float]
    """What every shard was measured by, all starts of the run together; see `pipeline.lines`."""
    cost_per_hour: float | None
    """Of the machines, in any currency."""

    @property
    def images_per_second(self) -> float | None:
        """None where an earlier start had done everything."""
        return self.images / self.seconds if self.images else None

    @property
    def steady_images_per_second(self) -> float | None:
        """Without start and end; None where it can't be told."""
        images, seconds = self.steady
        return images / seconds if images and seconds > 0 else None

    @property
    def recogniser(self) -> float | None:
        """Images a second of one recogniser at work; None where it can't be told."""
        seconds = self.measured.get(RECOGNISE_S, 0.0)
        read = sum(rows for status, _, rows in self.outcomes if status in READ)
        return read / seconds if seconds else None

    @property
    def limit(self) -> str | None:
        """What the images waited for: model, decode or fetch; None where it can't be told."""
        rate, alone = self.steady_images_per_second, self.recogniser
        if rate is None or alone is None or not self.recognisers or self.steady[1] < LEAST_SECONDS:
            return None
        if rate >= BUSY * alone * self.recognisers:
            return "model"
        return max(
            ("decode", DECODE_S), ("fetch", FETCH_S), key=lambda stage: self.measured.get(stage[1], 0)
        )[0]

    @property
    def cost_per_million(self) -> float | None:
        """Images at this speed; None where either isn't known."""
        rate = self.images_per_second
        return self.cost_per_hour / 3600 / rate * 1e6 if rate and self.cost_per_hour is not None else None
