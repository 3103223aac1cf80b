"""What a night has brought, gathered from the published rows: DuckDB scans them, the driver holds counts."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline.histograms import QUERIES, Histograms
from pipeline.nightly.canaries import cer
from pipeline.nightly.canaries import confidence as canary_confidence
from pipeline.nightly.drift import drift
from pipeline.nightly.examples import Example, examples
from pipeline.nightly.figures import Figures
from pipeline.nightly.table import TranscriptTable

NIGHTS = 7
"""Nights before that a night is compared with."""
PICTURES = 24
_READ = "status IN ('ok', 'low_confidence')"
_PREFIX = "CASE WHEN contains(key, '/') THEN split_part(key, '/', 1) || '/' ELSE '(top)' END"
MOST_PREFIXES = 30
LEAST_SHARDS, MOST_TIMES = 4, 48
"""Shards from which on throughput is shown over time, and in how many steps at most."""
A_MINUTE = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix:
    """A folder of the input."""

    name: str
    rows: int
    quarantined: int
    mean_confidence: float | None
    drift: float | None
    """Of confidence, against the nights before; None where too little is known of either."""
    drift_held_out: float | None
    """The same against the words that the model was calibrated on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Morning:
    """A night, as it is to be looked at."""

    figures: Figures
    histograms: Histograms
    """Of what was read."""
    past: Histograms
    """The same of the nights before, together."""
    held_out: Histograms | None
    """The same of the held-out words that the model was calibrated on; None where its bundle doesn't tell."""
    drift: Mapping[str, float]
    """Of each histogram, against the nights before; left out where too little is known of either."""
    drift_held_out: Mapping[str, float]
    """The same against the words that the model was calibrated on."""
    ended_ms: int
    """When its last row was made, in milliseconds since 1970: the same whenever it is told."""
    throughput: tuple[tuple[str, float], ...]
    """Images a second by time of day (UTC), from the first shard on; empty where there were few shards."""
    prefixes: tuple[Prefix, ...]
    """The largest."""
    least_confident: tuple[Example, ...]
    sample: tuple[Example, ...]
    """Drawn uniformly, always the same of one run."""
    quarantined: Mapping[str, tuple[Example, ...]]
    """A few, by reason."""
    shadowed: int
    """Images that the shadow model has read, too."""
    agreed: int
    """Those of which it read the same text."""
    disagreements: tuple[Example, ...]
    """Some of the others, always the same of one run."""

    @property
    def agreement(self) -> float | None:
        """Share of equal texts; None where no shadow model looked."""
        return self.agreed / self.shadowed if self.shadowed else None

    def as_json(self) -> bytes:
        """All but the pictures."""
        figures = self.figures
        record = {
            "figures": asdict(figures),
            "images_per_second": figures.images_per_second,
            "steady_images_per_second": figures.steady_images_per_second,
            "recogniser": figures.recogniser,
            "limit": figures.limit,
            "canary_cer": cer(figures.measured),
            "canary_confidence": canary_confidence(figures.measured),
            "shadow_agreement": self.agreement,
            "cost_per_million": figures.cost_per_million,
            "histograms": self.histograms,
            "drift": self.drift,
            "drift_held_out": self.drift_held_out,
            "throughput": self.throughput,
            "prefixes": [asdict(prefix) for prefix in self.prefixes],
        }
        return json.dumps(record, indent=1, ensure_ascii=False).encode()

    def metrics(self) -> dict[str, float]:
        """For MLflow."""
        found = {f"rows/{status}": 0.0 for status, _, _ in self.figures.outcomes}
        for status, _, rows in self.figures.outcomes:
            found[f"rows/{status}"] += rows
        found |= {f"drift/{name}": value for name, value in self.drift.items()}
        found |= {f"drift_held_out/{name}": value for name, value in self.drift_held_out.items()}
        rates = {
            "images_per_second": self.figures.images_per_second,
            "steady_images_per_second": self.figures.steady_images_per_second,
            "cost_per_million": self.figures.cost_per_million,
        }
        rates |= {
            "canary_cer": cer(self.figures.measured),
            "canary_confidence": canary_confidence(self.figures.measured),
            "shadow_agreement": self.agreement,
        }
        found |= self.figures.measured
        return found | {name: value for name, value in rates.items() if value is not None}


def gather(figures: Figures, table: TranscriptTable, held_out: Histograms | None) -> Morning:
    """Looks at what a run has published, and fetches a few pictures.

    Args:
        figures: What only the driver knows of it.
        table: That holds it.
        held_out: See `Morning`.

    Raises:
        StorageError: The table can't be read.
    """
    import duckdb

    with duckdb.connect(config={"memory_limit": "512MB", "threads": 2}) as database:
        database.execute("SET enable_progress_bar = false")
        database.execute("SET TimeZone = 'UTC'")
        database.register("published", table.rows())
        first = figures.facts.publication - NIGHTS
        now, before = f"run = '{figures.run}'", f"publication >= {first} AND publication < {first + NIGHTS}"
        read = f"{now} AND {_READ}"
        histograms, past = (
            {name: _counts(database, kind, f"{night} AND {_READ}") for name, kind in QUERIES.items()}
            for night in (now, before)
        )
        other = f"{now} AND shadow_text <> text"
        shadowed = f"{now} AND shadow_text IS NOT NULL"
        reasons = sorted({reason for status, reason, _ in figures.outcomes if status == "quarantined"})
        return Morning(
            figures=figures,
            histograms=histograms,
            past=past,
            held_out=held_out,
            drift=_drifts(past, histograms),
            drift_held_out=_drifts(held_out, histograms),
            ended_ms=_ended_ms(database, now),
            throughput=_throughput(database, read),
            prefixes=tuple(_prefixes(database, now, before, held_out)),
            least_confident=examples(database, read, PICTURES),
            sample=examples(database, read, PICTURES, "md5(id)"),
            shadowed=_rows(database, shadowed),
            agreed=_rows(database, f"{shadowed} AND shadow_text = text"),
            disagreements=examples(database, other, PICTURES, "md5(id)"),
            quarantined={
                reason: examples(database, f"{now} AND reason = '{reason}'", 3, "id") for reason in reasons
            },
        )


def _drifts(before: Histograms | None, now: Histograms) -> dict[str, float]:
    found = {name: drift(before[name], now[name]) for name in now} if before else {}
    return {name: value for name, value in found.items() if value is not None}


def _throughput(database: Any, read: str) -> tuple[tuple[str, float], ...]:
    """A shard's rows bear one time, that of its end: what the first ones took isn't known."""
    ((first, last, shards),) = database.sql(f"""
        SELECT epoch(min(recognised_at)), epoch(max(recognised_at)), count(DISTINCT recognised_at)
        FROM published WHERE {read}
    """).fetchall()
    if shards < LEAST_SHARDS:
        return ()
    bins = min(shards - 1, MOST_TIMES)
    width = (last - first) / bins
    place = f"least(ceil((epoch(recognised_at) - {first}) / {width}), {bins})::INT"
    counts = dict(
        database.sql(f"SELECT {place} AS place, count(*) FROM published WHERE {read} GROUP BY ALL").fetchall()
    )
    begins = [datetime.fromtimestamp(first + place * width, UTC) for place in range(bins)]
    clock = "%H:%M" if width >= A_MINUTE else "%H:%M:%S"
    return tuple(
        (at.strftime(clock), counts.get(place, 0) / width) for place, at in enumerate(begins, start=1)
    )


def _ended_ms(database: Any, now: str) -> int:
    ((ended,),) = database.sql(f"SELECT epoch_ms(max(recognised_at)) FROM published WHERE {now}").fetchall()
    return int(ended or 0)


def _rows(database: Any, where: str) -> int:
    ((count,),) = database.sql(f"SELECT count(*) FROM published WHERE {where}").fetchall()
    return int(count)


def _counts(database: Any, kind: str, where: str) -> dict[str, int]:
    query = f"SELECT {kind} AS kind, count(*) FROM published WHERE {where} GROUP BY kind ORDER BY kind"
    return {kind: count for kind, count in database.sql(query).fetchall() if kind}


def _prefixes(database: Any, now: str, before: str, held_out: Histograms | None) -> Iterator[Prefix]:
    largest = database.sql(f"""
        SELECT {_PREFIX} AS prefix, count(*), count(*) FILTER (status = 'quarantined'), avg(confidence)
        FROM published WHERE {now} GROUP BY prefix ORDER BY count(*) DESC, prefix LIMIT {MOST_PREFIXES}
    """).fetchall()
    for name, rows, quarantined, confidence in largest:
        here = f"{_READ} AND {_PREFIX} = '{name.replace(chr(39), chr(39) * 2)}'"
        past, read = (
            _counts(database, QUERIES["confidence"], f"{night} AND {here}") for night in (before, now)
        )
        yield Prefix(
            name=name,
            rows=rows,
            quarantined=quarantined,
            mean_confidence=confidence,
            drift=drift(past, read),
            drift_held_out=drift(held_out["confidence"], read) if held_out else None,
        )
