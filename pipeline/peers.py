"""Other people's recognisers on the same images, where `make peers` has made an environment for them."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from crnn.metrics import Counts
from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport, SetReport, accuracy_interval
from pipeline.manifest import Manifest
from pipeline.shards import read_shard

PEERS: Mapping[str, str] = {
    "tesseract": "Tesseract 5.5, English",
    "pp-ocrv4": "PP-OCRv4 rec",
    "pp-ocrv6-small": "PP-OCRv6 rec small",
}
"""Readers of infra/peers/read_words.py by name, as tables call them."""
HEADERS = ("set", "reader", "images", "accuracy %", "95 % interval", "CER %", "images/s")
ROOT = Path(__file__).resolve().parents[1]
PYTHON = ROOT / "out/peers/readers/bin/python"
_SCRIPT = ROOT / "infra/peers/read_words.py"


@dataclass(frozen=True, kw_only=True, slots=True)
class PeerReport:
    """What a peer made of the images that count of a set."""

    set: str
    peer: str
    counts: Counts
    """Under the evaluation's protocol."""
    images_per_second: float
    """By one thread, decoding and reading together."""


def read_with_peers(report: EvaluationReport) -> list[PeerReport]:
    """Reads the sets of an evaluation with all peers, one after the other, on this machine.

    Raises:
        ConfigError: None is installed, or one fails as a whole.
    """
    if not PYTHON.is_file():
        raise ConfigError("No other recogniser is installed here; `make peers` installs them.")
    found = []
    for part in report.sets:
        with TemporaryDirectory() as folder:
            truths = _write_images(part, Path(folder))
            for peer in PEERS:
                texts, seconds = _read(peer, folder)
                reads = map(report.protocol.normalize, texts)
                counts = Counts.over(zip(truths, reads, strict=True))
                speed = len(truths) / seconds if seconds else 0.0
                found.append(PeerReport(set=part.name, peer=peer, counts=counts, images_per_second=speed))
    return found


def rows(report: EvaluationReport, peers: list[PeerReport]) -> list[tuple[object, ...]]:
    """For HEADERS: ours first, then theirs, set by set."""
    ours = {part.name: (part.counts, part.images_per_second) for part in report.sets}
    told: list[tuple[object, ...]] = []
    for name, (counts, speed) in ours.items():
        told.append(_row(name, report.model.name, counts, speed))
        told += [_row(name, PEERS[p.peer], p.counts, p.images_per_second) for p in peers if p.set == name]
    return told


def _row(name: str, reader: str, counts: Counts, speed: float) -> tuple[object, ...]:
    low, high = accuracy_interval(counts)
    accuracy, cer = round(100 * counts.word_accuracy, 2), round(100 * counts.cer, 2)
    return (name, reader, counts.words, accuracy, f"{100 * low:.1f} to {100 * high:.1f}", cer, round(speed))


def _write_images(part: SetReport, folder: Path) -> list[str]:
    """Writes the images that count, in the order of their numbers, and tells their truths."""
    counted = part.counted
    places = zip(counted["shard"].to_pylist(), counted["row"].to_pylist(), strict=True)
    truths = dict(zip(places, counted["truth"].to_pylist(), strict=True))
    order: list[str] = []
    for number, shard in enumerate(Manifest.read(part.uri).shards):
        for row, image in enumerate(read_shard(part.uri, shard, ["image"])["image"].to_pylist()):
            if (number, row) in truths:
                (folder / f"{len(order):08d}").write_bytes(image or b"")
                order.append(truths[number, row])
    return order


def _read(peer: str, folder: str) -> tuple[list[str], float]:
    command = [str(PYTHON), str(_SCRIPT), peer, folder]
    one = {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | one)
    if done.returncode:
        raise ConfigError(f"{peer} failed: {done.stderr[-500:].strip()}. `make peers` installs it anew.")
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["texts"], float(answer["seconds"])
