"""Rows of random numbers for synthesis in which only that happens that a test wants to happen."""

from pipeline.synthesis.draws import START, WIDTH


def calm(**chosen: float | tuple[float, ...]) -> list[float]:
    """A row that no chance below 0.999 makes an effect of, but for the decisions that are given numbers."""
    row = [0.999] * WIDTH
    for name in ("rotation", "aspect", "shear", "perspective"):  # neither this way nor that
        row[START[name] + 1] = row[START[name] + 2] = row[START[name] + 3] = 0.5
    row[START["aspect"]] = row[START["rotation"] + 4] = 0.5
    for name, values in chosen.items():
        for i, value in enumerate(values if isinstance(values, tuple) else (values,)):
            row[START[name] + i] = value
    return row
