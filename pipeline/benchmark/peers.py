"""Other people's generators of word images, where infra/peers/setup.sh has made environments for them."""

import json
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from pipeline.benchmark.measure import Rate, Row, Setting, row

ROOT = Path(__file__).resolve().parents[2]
TRDG = Path("out/peers/trdg/bin/python")
"""The Python that has it, below the repository."""

log = logging.getLogger(__name__)


def peers(setting: Setting) -> Iterator[Row]:
    """Pictures of 32 pixels' height a second by TextRecognitionDataGenerator, on one core."""
    python = ROOT / TRDG
    if not python.is_file():
        log.warning("No peer is installed here, and none is measured: `make peers` installs them.")
        return
    command = [
        str(python),
        str(ROOT / "infra/peers/measure_trdg.py"),
        str(setting.rounds),
        str(setting.seconds),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr[-500:]}")
    for name, rates in json.loads(done.stdout.splitlines()[-1]).items():
        found = Rate(median=median(rates), low=min(rates), high=max(rates))
        yield row("peers", name, "images/s", found)
