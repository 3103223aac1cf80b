"""Pictures of an evaluation: the reliability diagram, sheets of errors and of differences between models."""

import io
from collections.abc import Sequence

import pyarrow as pa
from PIL import Image, ImageDraw, ImageFont

from crnn.calibration import reliability, risk_coverage
from crnn.errors import ImageRejectedError
from crnn.preprocess import decode_image
from pipeline.breakdown import confidences, trust
from pipeline.evaluation import SetReport
from pipeline.manifest import Manifest
from pipeline.pictures import Word, word_sheet
from pipeline.shards import read_shard

_SIDE, _MARGIN, _TEXT = 360, 56, 14
_INK, _FAINT, _BLUE, _RED = (40, 40, 40), (215, 215, 215), (46, 110, 180), (190, 60, 50)
Point = tuple[float, float]


def reliability_diagram(counted: pa.Table, title: str) -> bytes:
    """A PNG: accuracy by confidence, with the number of words, beside the risk-coverage curve.

    Args:
        counted: Readings of the images that count.
        title: Such as the data set's name.
    """
    values, right = confidences(counted)
    measured = trust(counted)
    width, height = 2 * (_SIDE + 2 * _MARGIN), _SIDE + 2 * _MARGIN + 20
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(_TEXT)
    draw.text((_MARGIN, 8), f"{title}: {len(values):,} words", _INK, font)

    left = _Axes(draw, font, _MARGIN, "confidence", "share right")
    left.line([(0, 0), (1, 1)], _FAINT)
    bins = reliability(values, right)
    most = max((part.words for part in bins), default=1)
    for part in bins:
        # Below each point, how many words it stands for.
        share = 0.22 * part.words / most
        left.bar(part.confidence, share)
    left.line([(part.confidence, part.accuracy) for part in bins], _BLUE)
    for part in bins:
        left.dot((part.confidence, part.accuracy))
    left.note(f"calibration error {measured.calibration_error:.3f}")

    curve = _Axes(draw, font, 3 * _MARGIN + _SIDE, "share without review", "errors among these")
    _, coverage, risk = risk_coverage(values, right)
    curve.line(list(zip(coverage.tolist(), risk.tolist(), strict=True)), _RED)
    told = [f"{100 * p:.0f} % right: {100 * c:.1f} %" for p, (c, _) in measured.coverage.items()]
    curve.note("; ".join(told) + " of words")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


class _Axes:
    """A unit square with ticks."""

    def __init__(
        self,
        draw: ImageDraw.ImageDraw,
        font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
        left: int,
        *names: str,
    ) -> None:
        self._draw, self._font, self._left, self._top = draw, font, left, _MARGIN
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            (x, y), text = self._at((tick, tick)), f"{tick:g}"
            self._draw.line([self._at((tick, 0)), self._at((tick, 1))], (240, 240, 240))
            self._draw.line([self._at((0, tick)), self._at((1, tick))], (240, 240, 240))
            self._draw.text((x - 4 * len(text), self._at((0, 0))[1] + 6), text, _INK, font)
            self._draw.text((left - 10 - 8 * len(text), y - 8), text, _INK, font)
        self._draw.rectangle([self._at((0, 1)), self._at((1, 0))], outline=_INK)
        across, up = names
        self._draw.text((left + _SIDE / 2 - 4 * len(across), self._top + _SIDE + 26), across, _INK, font)
        self._draw.text((left, self._top - 20), up, _INK, font)

    def _at(self, point: Point) -> Point:
        return self._left + _SIDE * point[0], self._top + _SIDE * (1 - point[1])

    def line(self, points: Sequence[Point], colour: tuple[int, int, int]) -> None:
        """A line through points of the unit square."""
        if len(points) > 1:
            self._draw.line([self._at(point) for point in points], colour, width=2)

    def dot(self, point: Point) -> None:
        """A mark."""
        x, y = self._at(point)
        self._draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=_BLUE)

    def bar(self, across: float, height: float) -> None:
        """A bar from the bottom."""
        (x, top), (_, bottom) = self._at((across, height)), self._at((across, 0))
        self._draw.rectangle([x - 6, min(top, bottom - 1), x + 6, bottom - 1], fill=_FAINT)

    def note(self, text: str) -> None:
        """A line in the upper left corner."""
        self._draw.text((self._left + 8, self._top + 6), text, _INK, self._font)


def error_sheet(part: SetReport, count: int = 48) -> bytes:
    """A PNG of the errors of which the model was surest, the surest first.

    Below each image stand its truth, and what was read with its confidence.
    """
    wrong = [
        row
        for row in part.counted.drop_columns(["lexicon_predictions"]).to_pylist()
        if row["read"] != row["truth"] and row["prediction"] is not None
    ]
    worst = sorted(wrong, key=lambda row: -row["confidence"])[:count]
    places = [(row["shard"], row["row"]) for row in worst]
    texts = [(row["truth"], f"{row['read'] or '(nothing)'}  {row['confidence']:.2f}", False) for row in worst]
    return word_sheet(_words(part.uri, places, texts))


def difference_sheet(ours: SetReport, theirs: SetReport, count: int = 48) -> bytes:
    """A PNG of images that only one of two models reads right: first what is lost, then what is gained.

    Below each image stand its truth, and what the other model and this one read: red is lost, green gained.
    """
    columns = [part.counted.select(["shard", "row", "truth", "read"]).to_pylist() for part in (ours, theirs)]
    flips = [
        (mine["read"] == mine["truth"], mine, other)
        for mine, other in zip(*columns, strict=True)
        if (mine["read"] == mine["truth"]) != (other["read"] == other["truth"])
    ]
    lost = [flip for flip in flips if not flip[0]]
    gained = [flip for flip in flips if flip[0]]
    shown = lost[: max(count // 2, count - len(gained))]
    shown += gained[: count - len(shown)]
    texts = [
        (mine["truth"], f"{other['read'] or '(nothing)'} > {mine['read'] or '(nothing)'}", won)
        for won, mine, other in shown
    ]
    return word_sheet(_words(ours.uri, [(mine["shard"], mine["row"]) for _, mine, _ in shown], texts))


def _words(uri: str, places: list[tuple[int, int]], texts: list[tuple[str, str, bool]]) -> list[Word]:
    """Cells of a sheet, with their images fetched from the data set's shards."""
    shards = Manifest.read(uri).shards
    tables = {shard: read_shard(uri, shards[shard], ["image"]) for shard in sorted({s for s, _ in places})}
    words = []
    for (shard, row), (truth, read, right) in zip(places, texts, strict=True):
        try:
            image = decode_image(tables[shard]["image"][row].as_py())
        except ImageRejectedError:
            continue
        words.append(Word(image=image, truth=truth, prediction=read, right=right))
    return words
