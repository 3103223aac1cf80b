from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from crnn.calibration import CalibrationError
from crnn.charset import ALNUM36, LATIN94
from crnn.checkpoint import Bundle
from crnn.metrics import PROTOCOLS
from crnn.model import CRNN
from crnn.networks import NETWORKS
from crnn.preprocess import PreprocessConfig
from pipeline.calibrate import WHOLE, calibrate, with_calibration
from pipeline.evaluation import EvaluationReport, score
from pipeline.histograms import held_out_readings
from pipeline.protocols import FILTERS
from pipeline.readings import READING_SCHEMA
from pipeline.registry import ResolvedModel


def report(
    count: int, truth: str = "word", wrong: str = "ward", protocol: str = "alnum36", chosen: str = "all"
) -> EvaluationReport:
    """Readings whose likelihood says much less than the truth about how sure they are."""
    generator = np.random.default_rng(0)
    log_probs = -np.exp(generator.normal(0, 1.5, count))
    right = generator.random(count) < 1 / (1 + (-log_probs) ** 2 / 4)
    rows = [
        {
            "id": str(i),
            "text": truth,
            "prediction": truth if ok else wrong,
            "log_prob": p,
            "confidence": np.exp(p),
            "seconds": 0.0,
        }
        for i, (p, ok) in enumerate(zip(log_probs, right, strict=True))
    ]
    rows.append({"id": "unreadable", "text": truth, "reason": "empty", "seconds": 0.0})
    part = score(
        "set",
        "uri",
        pa.Table.from_pylist(rows, schema=READING_SCHEMA),
        fingerprint="f",
        protocol=PROTOCOLS[protocol],
        chosen=FILTERS[chosen],
    )
    model = ResolvedModel(name="m", version="1", digest="d", directory=Path())
    return EvaluationReport(model=model, protocol=PROTOCOLS[protocol], filter=FILTERS[chosen], sets=(part,))


def test_calibrated_confidences_are_probabilities_on_words_that_were_not_fitted() -> None:
    done = calibrate(report(3000), ALNUM36)
    assert done.words == 3000
    assert done.error_before > 0.1
    assert done.error_after < 0.03


@pytest.mark.parametrize(("protocol", "chosen"), [("alnum36", "all"), ("as_is", "all"), ("as_is", "alnum3")])
def test_protocol_and_filter_of_the_evaluation_do_not_decide_what_is_right(
    protocol: str, chosen: str
) -> None:
    # alnum36 calls the wrong texts right, and the filter leaves all images out.
    done = calibrate(report(1000, "It's", "it's", protocol, chosen), LATIN94)
    assert done.words == 1000
    assert done.calibration == calibrate(report(1000), LATIN94).calibration


def test_what_the_charset_can_not_tell_apart_is_right() -> None:
    same = calibrate(report(1000, "Word", "word"), ALNUM36)  # as a recogniser that ignores case writes it
    assert same.error_before > calibrate(report(1000, "Word", "word"), LATIN94).error_before


def test_too_few_words_to_check_on_are_refused() -> None:
    with pytest.raises(CalibrationError, match="200"):
        calibrate(report(150), ALNUM36)


def test_the_bundle_keeps_the_calibration_and_its_texts(tmp_path: Path) -> None:
    network = NETWORKS["small"]
    bundle = Bundle(
        network=network,
        charset=ALNUM36,
        preprocess=PreprocessConfig(height=network.height),
        weights=CRNN(network, ALNUM36.num_classes).state_dict(),
    )
    done = calibrate(report(500), ALNUM36)
    with_calibration(bundle, done).save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert loaded.calibration == pytest.approx(done.calibration.to_dict())
    assert loaded.provenance["calibration"] == done.to_dict()
    assert done.to_dict()["data"] == {"set": "f"}
    counted = held_out_readings(loaded.provenance, WHOLE)
    assert counted is not None
    assert counted["length"] == {"04": 500}
    assert sum(counted["confidence"].values()) == 500
    assert counted["characters"]["w"] == 500
    assert loaded.fingerprint != bundle.fingerprint
    assert all((loaded.weights[name] == weight).all() for name, weight in bundle.weights.items())
