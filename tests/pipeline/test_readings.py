import io
from pathlib import Path

import pyarrow as pa
import pytest
import torch
from PIL import Image

from crnn.calibration import Calibration
from crnn.charset import LATIN94
from crnn.checkpoint import Bundle
from crnn.metrics import PROTOCOLS
from crnn.model import CRNN
from crnn.networks import NETWORKS
from crnn.preprocess import PreprocessConfig
from crnn.recognizer import Recognizer
from pipeline.manifest import Manifest
from pipeline.readings import Reader, shard_tasks
from pipeline.schema import SAMPLE_SCHEMA
from pipeline.shards import write_shard

CALIBRATION = Calibration(bias=-1.0, likelihood=-0.5, curvature=-0.02, length=0.1)


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    """Writes the capital A, whatever it sees, and says so with calibrated confidence."""
    network = NETWORKS["small"]
    weights = {k: torch.zeros_like(v) for k, v in CRNN(network, LATIN94.num_classes).state_dict().items()}
    bias = next(name for name in reversed(weights) if name.endswith("bias"))
    weights[bias][LATIN94.encode("A")[0]] = 9.0
    geometry = PreprocessConfig(height=network.height)
    return Recognizer(
        Bundle(
            network=network,
            charset=LATIN94,
            preprocess=geometry,
            weights=weights,
            calibration=CALIBRATION.to_dict(),
        )
    )


def make_set(directory: Path, lexicon: list[str] | None) -> str:
    rows = []
    for i, width in enumerate((30, 200, 60)):
        buffer = io.BytesIO()
        Image.new("L", (width, 32), 90).save(buffer, "PNG")
        row = {"id": str(i), "image": buffer.getvalue(), "text": "A", "width": width, "height": 32}
        rows.append(row | {"source": "s", "lexicon": lexicon})
    info = write_shard(str(directory), 0, pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA))
    lexicons = {"own": [0, None]} if lexicon else {}
    Manifest(shards=(info,), config={"lexicons": lexicons}).write(str(directory))
    return str(directory)


def test_rows_come_in_the_shards_order_with_calibrated_confidences(
    recognizer: Recognizer, tmp_path: Path
) -> None:
    (task,) = shard_tasks({"set": make_set(tmp_path, None)})
    rows = Reader(recognizer, PROTOCOLS["alnum36"], {}).read(task, model=3).to_pylist()
    assert [row["row"] for row in rows] == [0, 1, 2]
    assert [row["width"] for row in rows] == [30, 200, 60]
    for row in rows:
        assert (row["model"], row["dataset"], row["prediction"]) == (3, "set", "A")
        assert row["confidence"] == pytest.approx(CALIBRATION.confidence(row["log_prob"], 1), abs=1e-4)


@pytest.mark.parametrize(("protocol", "entry"), [("alnum36", "a"), ("latin94", "A"), ("as_is", "A")])
def test_a_recogniser_of_many_classes_is_asked_for_lexicons_in_the_protocols_form(
    recognizer: Recognizer, tmp_path: Path, protocol: str, entry: str
) -> None:
    (task,) = shard_tasks({"set": make_set(tmp_path, ["b", "A", "c!"])})
    rows = Reader(recognizer, PROTOCOLS[protocol], {}).read(task).to_pylist()
    assert [row["lexicon_predictions"] for row in rows] == [[("own", entry)]] * 3
