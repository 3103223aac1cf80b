"""A benchmark's figures as people read them, as JSON, and as a run in MLflow."""

import json
import platform
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from pipeline import provenance
from pipeline.benchmark.measure import Row, Setting
from pipeline.tracking import MetricPoint, Tracker, TrackerConfig, flatten

HEADERS = ("stage", "what", "median", "slowest", "fastest", "unit", "ceiling", "of it %", "the ceiling is")


def machine(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    found: dict[str, Any] = {"cpu": _processor(), "instructions": torch.backends.cpu.get_cpu_capability()}
    if torch.device(device).type == "cuda":
        found["gpu"] = torch.cuda.get_device_name(device)
    return found


def table_rows(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """For HEADERS."""
    return [
        (
            row.stage,
            row.name,
            _short(row.value),
            _short(row.low),
            _short(row.high),
            row.unit,
            _short(row.ceiling),
            None if row.ratio is None else float(f"{100 * row.ratio:.3g}"),
            row.bound,
        )
        for row in rows
    ]


def as_json(rows: Sequence[Row], setting: Setting, failures: Mapping[str, str]) -> str:
    """All figures with where they come from."""
    record = {
        "machine": machine(setting.device),
        "setting": asdict(setting),
        "rows": [asdict(row) | {"ratio": row.ratio} for row in rows],
        "failures": dict(failures),
        "provenance": provenance.collect().as_dict(),
    }
    return json.dumps(record, indent=1, ensure_ascii=False)


def track(
    rows: Sequence[Row], setting: Setting, failures: Mapping[str, str], *, tracking_uri: str, experiment: str
) -> None:
    """Logs the figures as a run of its own: benchmark/<stage>/<what>, and the table."""
    now = time.time()
    name = f"benchmark {machine(setting.device).get('gpu', setting.device)} {time.strftime('%F %T')}"
    tracker = Tracker(
        TrackerConfig(
            tracking_uri=tracking_uri,
            experiment=experiment,
            run_name=name,
            remedy="They are printed, and in --output where it is given; the next benchmark is another run.",
        )
    )
    tags = {f"crnn.machine.{key}": str(value) for key, value in machine(setting.device).items()}
    tracker.open_run(params=flatten(asdict(setting)), tags={**provenance.collect().tags(), **tags})
    tracker.log_points(MetricPoint(metric_name(row), row.value, 0, int(1000 * now)) for row in rows)
    shown = table_rows(rows)
    tracker.log_table("benchmark.json", {h: [row[i] for row in shown] for i, h in enumerate(HEADERS)})
    tracker.log_text("benchmark-record.json", as_json(rows, setting, failures))
    tracker.finish("FAILED" if failures else "FINISHED")


def metric_name(row: Row) -> str:
    """Such as benchmark/decode/best_path: what MLflow takes."""
    return f"benchmark/{row.stage}/{re.sub(r'[^0-9A-Za-z.-]+', '_', row.name).strip('_')}"


def _short(value: float | None) -> float | int | None:
    """Four significant digits: more would be noise."""
    if value is None or value == 0:
        return value
    rounded = float(f"{value:.4g}")
    return int(rounded) if rounded >= 1000 else rounded


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
