"""Other people's recognisers on the same images, where `make peers` has made an environment for them."""

import io
import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from crnn.errors import ImageRejectedError
from crnn.metrics import Counts
from crnn.preprocess import decode_image
from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport, SetReport
from pipeline.manifest import Manifest
from pipeline.report import scores
from pipeline.shards import read_shard

PEERS: Mapping[str, str] = {
    "tesseract": "Tesseract 5.5, English",
    "pp-ocrv4": "PP-OCRv4 rec",
    "pp-ocrv6-small": "PP-OCRv6 rec small",
}
"""Readers of infra/peers/read_words.py by name, as tables call them."""
HEADERS = ("set", "reader", "images", "accuracy %", "95 % interval", "CER %", "1-NED %", "images/s")
ROOT = Path(__file__).resolve().parents[1]
_ORIENTATION = 0x0112  # EXIF's tag
PYTHON = ROOT / "out/peers/readers/bin/python"
_SCRIPT = ROOT / "infra/peers/read_words.py"
_START_S, _IMAGE_S = 300.0, 2.0
"""How long a peer may take: many times what it does."""


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
    require_peers()
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


def require_peers() -> None:
    """Makes sure that there are any.

    Raises:
        ConfigError: None is installed.
    """
    if not PYTHON.is_file():
        raise ConfigError("No other recogniser is installed here; `make peers` installs them.")


def rows(report: EvaluationReport, peers: list[PeerReport]) -> list[tuple[object, ...]]:
    """For HEADERS: ours first, then theirs, set by set."""
    told: list[tuple[object, ...]] = []
    for part in report.sets:
        told.append((part.name, report.model.name, *scores(part.counts), round(part.images_per_second)))
        told += [
            (part.name, PEERS[peer.peer], *scores(peer.counts), round(peer.images_per_second))
            for peer in peers
            if peer.set == part.name
        ]
    return told


def _write_images(part: SetReport, folder: Path) -> list[str]:
    """Writes the images that count, upright, in the order of their numbers, and tells their truths."""
    counted = part.counted
    places = zip(counted["shard"].to_pylist(), counted["row"].to_pylist(), strict=True)
    truths = dict(zip(places, counted["truth"].to_pylist(), strict=True))
    order: list[str] = []
    for number, shard in enumerate(Manifest.read(part.uri).shards):
        for row, image in enumerate(read_shard(part.uri, shard, ["image"])["image"].to_pylist()):
            if (number, row) in truths:
                (folder / f"{len(order):08d}").write_bytes(_upright(image or b""))
                order.append(truths[number, row])
    return order


def _upright(image: bytes) -> bytes:
    """As our own reader sees it, where that isn't how it is stored: turned, on its ground, in 8 bits."""
    try:
        found = Image.open(io.BytesIO(image))
        if found.mode in ("L", "RGB") and not found.getexif().get(_ORIENTATION, 1) > 1:
            return image
        buffer = io.BytesIO()
        Image.fromarray(decode_image(image)).save(buffer, "PNG")
        return buffer.getvalue()
    except (OSError, ImageRejectedError):
        return image


def _read(peer: str, folder: str) -> tuple[list[str], float]:
    command = [str(PYTHON), str(_SCRIPT), peer, folder]
    one = {"OMP_NUM_THREADS": "1", "OMP_THREAD_LIMIT": "1"}
    images = sum(1 for _ in Path(folder).iterdir())
    patience = _START_S + _IMAGE_S * images
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ | one, timeout=patience
        )
        answer = json.loads(done.stdout.splitlines()[-1])
        if len(answer["texts"]) != images:
            raise ValueError(f"{len(answer['texts'])} texts for {images} images")
        return answer["texts"], float(answer["seconds"])
    except subprocess.TimeoutExpired:
        raise ConfigError(f"{peer} read {images} images for {patience:.0f} s and wasn't done.") from None
    except subprocess.CalledProcessError as error:
        why = error.stderr[-500:].strip()
        raise ConfigError(f"{peer} failed: {why}. `make peers` installs it anew.") from None
    except (ValueError, IndexError, KeyError) as error:
        raise ConfigError(f"{peer} gave no answer ({error!r}); `make peers` installs it anew.") from error
