"""Fine-tuning begins with what is shared, says what is new, and refuses other layers."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from crnn.adoption import adopt
from crnn.charset import ALNUM36, LATIN94, Charset
from crnn.checkpoint import Bundle
from crnn.errors import ModelConfigError
from crnn.model import CRNN, seeded
from crnn.networks import SMALL, TINY
from crnn.preprocess import PreprocessConfig

IMAGES = torch.randint(0, 256, (2, 1, 32, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def bundle(charset: Charset) -> Bundle:
    weights = seeded(TINY, charset.num_classes, seed=1).state_dict()
    return Bundle(network=TINY, charset=charset, preprocess=PreprocessConfig(), weights=weights)


def rows(network: CRNN) -> Tensor:
    """Weights of the last layer, a row for each class."""
    weight: Tensor = network.state_dict()[f"linears.{TINY.lstm_layers - 1}.weight"]
    return weight


def test_the_same_charset_gives_the_same_network() -> None:
    start, network = bundle(LATIN94), seeded(TINY, LATIN94.num_classes, seed=2)
    adoption = adopt(network, LATIN94, start)
    assert (adoption.copied, adoption.reset, adoption.dropped) == (LATIN94.characters, "", "")
    with torch.inference_mode():
        assert torch.equal(network.eval()(IMAGES), start.model()(IMAGES))


def test_shared_characters_keep_their_logits_wherever_their_class_moved() -> None:
    before = Charset(characters="abcd")
    after = Charset(characters="xcBa")
    start, network = bundle(before), seeded(TINY, after.num_classes, seed=2)
    fresh = rows(seeded(TINY, after.num_classes, seed=2))
    adoption = adopt(network, after, start)
    assert (adoption.copied, adoption.reset, adoption.dropped) == ("ca", "xB", "bd")
    assert str(adoption) == "2 characters as they were; 2 new ones begin at random: xB; 2 given up: bd"
    with torch.inference_mode():
        found, wanted = network.eval()(IMAGES), start.model()(IMAGES)
    assert torch.allclose(found[..., [0, 2, 4]], wanted[..., [0, 3, 1]], atol=1e-6)
    assert torch.equal(rows(network)[[1, 3]], fresh[[1, 3]])


def test_capitals_begin_as_the_small_letters_of_a_bundle_that_folds_case() -> None:
    start, network = bundle(ALNUM36), seeded(TINY, LATIN94.num_classes, seed=2)
    adoption = adopt(network, LATIN94, start)
    assert adoption.reset == "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
    weight = rows(network)
    small, capital = LATIN94.encode("qQ")
    assert torch.equal(weight[small], weight[capital])


def test_other_layers_are_refused() -> None:
    start = replace(
        bundle(ALNUM36), network=SMALL, weights=seeded(SMALL, ALNUM36.num_classes, seed=1).state_dict()
    )
    with pytest.raises(ModelConfigError, match="another convolutions, hidden, lstm_layers"):
        adopt(seeded(TINY, ALNUM36.num_classes, seed=2), ALNUM36, start)
