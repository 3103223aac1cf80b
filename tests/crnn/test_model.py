"""The network: its arithmetic of frames and of operations, its blocks, its seeds."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.errors import ModelConfigError
from crnn.model import ConvConfig, CRNNConfig, ResidualBlock, forward_flops, seeded
from crnn.networks import NETWORKS, PAPER, RESIDUAL, SMALL


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12, deadline=None)
@given(width=st.integers(8, 300))
def test_num_frames_is_what_the_network_gives(name: str, width: int) -> None:
    config = NETWORKS[name]
    with torch.inference_mode():
        logits_NTV = seeded(config, 5, seed=0).eval()(torch.zeros(1, 1, 32, width, dtype=torch.uint8))
    assert logits_NTV.shape == (1, config.num_frames(width), 5)


@pytest.mark.parametrize("config", [PAPER, RESIDUAL])
def test_counted_operations_are_those_of_torch(config: CRNNConfig) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = seeded(config, 37, seed=0).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model.convolutions(torch.zeros(1, 1, 32, 100))
    frames = config.num_frames(100)
    recurrent = frames * 2 * 2 * 4 * 256 * ((512 + 256) + (256 + 256))
    linear = frames * 2 * 512 * (256 + 37)
    assert forward_flops(config, 37, 100) == counter.get_total_flops() + recurrent + linear


def test_a_residual_block_adds_what_it_read_to_what_it_makes_of_it() -> None:
    blocks = [m for m in seeded(RESIDUAL, 5, seed=0).modules() if isinstance(m, ResidualBlock)]
    assert len(blocks) == sum(conv.shortcut for conv in RESIDUAL.convolutions)
    for block in (block.eval() for block in blocks):
        channels = block.layers[0].in_channels
        features = torch.rand(2, channels, 4, 9)
        before = features.clone()
        assert torch.equal(block(features), features)  # untrained, it isn't there
        torch.nn.init.normal_(block.layers[-1].weight)
        by_hand = (features.double() + block.double().layers(features.double())).clamp(min=0)
        assert torch.allclose(block.float()(features).double(), by_hand, atol=1e-5)
        assert torch.equal(features, before)


PLAIN = ConvConfig(channels=8)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((ConvConfig(channels=8, shortcut=True),), "one before it"),
        ((PLAIN, ConvConfig(channels=8, shortcut=True)), "one before that"),
        ((PLAIN, PLAIN, *[ConvConfig(channels=8, shortcut=True)] * 2), "no other block"),
        ((PLAIN, PLAIN, ConvConfig(channels=9, shortcut=True)), "8 channels to 9"),
        ((PLAIN, ConvConfig(channels=8, pool=(2, 2)), ConvConfig(channels=8, shortcut=True)), "must keep"),
    ],
)
def test_a_shortcut_that_joins_what_differs_is_refused(layers: tuple[ConvConfig, ...], message: str) -> None:
    with pytest.raises(ModelConfigError, match=message):
        CRNNConfig(convolutions=(*layers, ConvConfig(channels=8, pool=(32, 1))))


def test_a_height_that_does_not_come_down_to_one_row_is_refused() -> None:
    with pytest.raises(ModelConfigError, match="2 rows"):
        CRNNConfig(convolutions=(ConvConfig(channels=8, pool=(16, 4)),))


def test_weights_depend_on_the_seed_alone_and_leave_the_global_generator() -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    first, second, third = (seeded(SMALL, 5, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    other = [torch.equal(a, b) for a, b in zip(first.parameters(), third.parameters(), strict=True)]
    assert all(same)
    assert not all(other)
