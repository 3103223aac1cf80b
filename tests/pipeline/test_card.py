"""A model card tells each set under each protocol, lexicons in rows of their own, and where weights began."""

from dataclasses import replace

from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.model import seeded
from crnn.networks import NETWORKS
from crnn.preprocess import PreprocessConfig
from pipeline.card import Training, licences_of, model_card
from tests.pipeline.test_report import report

NETWORK = NETWORKS["tiny"]
BUNDLE = Bundle(
    network=NETWORK,
    charset=ALNUM36,
    preprocess=PreprocessConfig(height=NETWORK.height),
    weights=seeded(NETWORK, ALNUM36.num_classes, 1).state_dict(),
    provenance={
        "revision": "abc",
        "host": "secret",
        "calibration": {"words": 300, "data": {"svt": "f"}, "error_before": 0.1, "error_after": 0.02},
    },
)
TRAINING = Training(
    run="first",
    command="python jobs/train.py first",
    data="d4",
    rows=10,
    seed=7,
    images=20,
    hours=0.5,
    hardware="two cores",
    fonts=3,
    licences={"OFL-1.1": 2, "MIT": 1},
)


def test_every_protocol_is_a_column_and_every_lexicon_a_row() -> None:
    first, second = report("svt", "x"), report("svt", "x")
    second = replace(second, protocol=replace(second.protocol, name="other"))
    lines = model_card("word", BUNDLE, TRAINING, [first, second], reader="a Z80").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    heads = cells[0]
    assert heads == ["set", "images", "alnum36", "other", "CER %", "images/s", "rejected"]
    named = {row[0]: row for row in cells if row[0].startswith(("svt", "x")) and len(row) == len(heads)}
    assert set(named) == {"svt", "svt, lexicon 50", "x", "x, lexicon 50"}
    assert named["svt"][2] == named["svt"][3] != ""
    assert named["svt, lexicon 50"][3] == ""
    assert named["svt"][-2:] == [f"{first.sets[0].images_per_second:.0f}", "1"]
    assert any("a Z80" in line for line in lines)


def test_a_card_says_what_the_weights_began_with_and_nothing_of_the_machine() -> None:
    card = model_card("word", BUNDLE, TRAINING, [report("svt")], reader="")
    assert "| began with | random weights |" in card
    assert "No photograph was trained on, labelled or not: every picture was rendered" in card
    start = {"uri": "models:/crnn/1", "fingerprint": "f00", "images_seen": 1234}
    warm = replace(BUNDLE, provenance={**BUNDLE.provenance, "started_from": start})
    card = model_card("word", warm, TRAINING, [report("svt")], reader="")
    assert "| began with | `models:/crnn/1` `f00`, after 1,234 pictures |" in card
    assert "No photograph was trained on since it began with `models:/crnn/1`: every picture" in card
    assert "secret" not in card
    assert "secret" not in str(TRAINING.as_dict(BUNDLE.provenance))


def test_licences_are_counted_the_most_frequent_first() -> None:
    faces = [{"licence": "MIT"}, {"licence": "OFL"}, {"licence": "OFL"}]
    assert list(licences_of(faces).items()) == [("OFL", 2), ("MIT", 1)]
