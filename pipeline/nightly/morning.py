"""What a night has brought, gathered from the published rows: DuckDB scans them, the driver holds counts."""

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image

from crnn.cropping import crop
from crnn.errors import ImageRejectedError
from crnn.preprocess import decode_image
from pipeline.errors import StorageError
from pipeline.inputs.contents import content
from pipeline.nightly.canaries import cer
from pipeline.nightly.canaries import confidence as canary_confidence
from pipeline.nightly.drift import psi
from pipeline.nightly.figures import Figures
from pipeline.nightly.table import TranscriptTable

NIGHTS = 7
"""Nights before that a night is compared with."""
PICTURES = 24
_READ = "status IN ('ok', 'low_confidence')"
_CONFIDENCE = "printf('%.2f', least(floor(confidence * 20), 19) / 20)"
_LENGTH = "CASE WHEN length(text) > 20 THEN '21+' ELSE printf('%02d', length(text)) END"
_PREFIX = "CASE WHEN contains(key, '/') THEN split_part(key, '/', 1) || '/' ELSE '(top)' END"
MOST_PREFIXES = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A row to look at."""

    key: str
    text: str | None
    confidence: float | None
    reason: str | None
    detail: str | None
    picture: str | None
    """A PNG as a data: URI; None where there is none."""
    shadow_text: str | None
    """What the shadow model read, where it looked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prefix:
    """A folder of the input."""

    name: str
    rows: int
    quarantined: int
    mean_confidence: float | None
    drift: float | None
    """Of confidence; None where nothing of it is known from before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Morning:
    """A night, as it is to be looked at."""

    figures: Figures
    histograms: Mapping[str, Mapping[str, int]]
    """Counts by kind: confidence, length, characters."""
    drift: Mapping[str, float]
    """Of each histogram, against the nights before; empty where there were none."""
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
            "prefixes": [asdict(prefix) for prefix in self.prefixes],
        }
        return json.dumps(record, indent=1, ensure_ascii=False).encode()

    def metrics(self) -> dict[str, float]:
        """For MLflow."""
        found = {f"rows/{status}": 0.0 for status, _, _ in self.figures.outcomes}
        for status, _, rows in self.figures.outcomes:
            found[f"rows/{status}"] += rows
        found |= {f"drift/{name}": value for name, value in self.drift.items()}
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


def gather(figures: Figures, table: TranscriptTable) -> Morning:
    """Looks at what a run has published, and fetches a few pictures.

    Raises:
        StorageError: The table can't be read.
    """
    import duckdb

    with duckdb.connect(config={"memory_limit": "512MB", "threads": 2}) as database:
        database.execute("SET enable_progress_bar = false")
        database.register("published", table.rows())
        first = figures.facts.publication - NIGHTS
        now, before = f"run = '{figures.run}'", f"publication >= {first} AND publication < {first + NIGHTS}"
        histograms, past = (
            {
                "confidence": _counts(database, _CONFIDENCE, f"{night} AND {_READ}"),
                "length": _counts(database, _LENGTH, f"{night} AND {_READ}"),
                "characters": _counts(database, "unnest(string_split(text, ''))", f"{night} AND {_READ}"),
            }
            for night in (now, before)
        )
        known = any(past["confidence"].values())
        shadowed = f"{now} AND shadow_text IS NOT NULL"
        reasons = sorted({reason for status, reason, _ in figures.outcomes if status == "quarantined"})
        return Morning(
            figures=figures,
            histograms=histograms,
            drift={name: psi(past[name], histograms[name]) for name in histograms} if known else {},
            prefixes=tuple(_prefixes(database, now, before)),
            least_confident=_examples(database, f"{now} AND {_READ}", "confidence, id", PICTURES),
            sample=_examples(database, f"{now} AND {_READ}", "md5(id)", PICTURES),
            shadowed=_rows(database, shadowed),
            agreed=_rows(database, f"{shadowed} AND shadow_text = text"),
            disagreements=_examples(database, f"{shadowed} AND shadow_text <> text", "md5(id)", PICTURES),
            quarantined={
                reason: _examples(database, f"{now} AND reason = '{reason}'", "id", 3) for reason in reasons
            },
        )


def _rows(database: Any, where: str) -> int:
    ((count,),) = database.sql(f"SELECT count(*) FROM published WHERE {where}").fetchall()
    return int(count)


def _counts(database: Any, kind: str, where: str) -> dict[str, int]:
    query = f"SELECT {kind} AS kind, count(*) FROM published WHERE {where} GROUP BY kind ORDER BY kind"
    return {kind: count for kind, count in database.sql(query).fetchall() if kind}


def _prefixes(database: Any, now: str, before: str) -> Iterator[Prefix]:
    largest = database.sql(f"""
        SELECT {_PREFIX} AS prefix, count(*), count(*) FILTER (status = 'quarantined'), avg(confidence)
        FROM published WHERE {now} GROUP BY prefix ORDER BY count(*) DESC, prefix LIMIT {MOST_PREFIXES}
    """).fetchall()
    for name, rows, quarantined, confidence in largest:
        here = f"{_READ} AND {_PREFIX} = '{name.replace(chr(39), chr(39) * 2)}'"
        histograms = [_counts(database, _CONFIDENCE, f"{night} AND {here}") for night in (before, now)]
        yield Prefix(
            name=name,
            rows=rows,
            quarantined=quarantined,
            mean_confidence=confidence,
            drift=psi(*histograms) if all(histograms) else None,
        )


def _examples(database: Any, where: str, order: str, count: int) -> tuple[Example, ...]:
    names = (
        "uri",
        "member",
        "etag",
        "size",
        "position",
        "box",
        "key",
        "text",
        "confidence",
        "reason",
        "detail",
        "shadow_text",
    )
    query = f"SELECT {', '.join(names)} FROM published WHERE {where}"
    found = database.sql(f"{query} ORDER BY {order} LIMIT {count}").fetchall()
    rows = [dict(zip(names, values, strict=True)) for values in found]
    return tuple(
        Example(
            key=row["key"],
            text=row["text"],
            confidence=row["confidence"],
            reason=row["reason"],
            detail=row["detail"],
            shadow_text=row["shadow_text"],
            picture=_picture(row) if row["text"] is not None else None,
        )
        for row in rows
    )


def _picture(row: Mapping[str, Any]) -> str | None:
    """A small picture of what could be decoded at night; it may be gone by now."""
    try:
        data = content(row)
        if not isinstance(data, bytes):
            return None
        page = decode_image(data)
        image = Image.fromarray(page if row["box"] is None else crop(page, row["box"]))
    except (StorageError, ImageRejectedError):
        return None
    image.thumbnail((320, 64))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
