"""The network: the paper's numbers, and its arithmetic of frames."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.errors import ModelConfigError
from crnn.model import NETWORKS, PAPER, SMALL, ConvConfig, CRNNConfig, count_parameters, forward_flops, seeded


def test_the_paper_s_network_has_the_paper_s_parameters() -> None:
    assert count_parameters(seeded(PAPER, 37, seed=0)) == 8_330_789


def test_the_paper_s_network_gives_24_frames_at_width_100() -> None:
    assert PAPER.num_frames(100) == 24


def test_the_small_network_fits_a_cpu() -> None:
    assert count_parameters(seeded(SMALL, 95, seed=0)) <= 1_600_000
    assert forward_flops(SMALL, 95, 100) * 3 < forward_flops(PAPER, 95, 100) < 1.5e9


@pytest.mark.parametrize("name", NETWORKS)
@settings(max_examples=12, deadline=None)
@given(width=st.integers(8, 300))
def test_num_frames_is_what_the_network_gives(name: str, width: int) -> None:
    config = NETWORKS[name]
    with torch.inference_mode():
        logits_NTV = seeded(config, 5, seed=0).eval()(torch.zeros(1, 1, 32, width, dtype=torch.uint8))
    assert logits_NTV.shape == (1, config.num_frames(width), 5)


def test_counted_operations_are_those_of_torch() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model = seeded(PAPER, 37, seed=0).eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.inference_mode():
        model.convolutions(torch.zeros(1, 1, 32, 100))
    recurrent = 24 * 2 * 2 * 4 * 256 * ((512 + 256) + (256 + 256))
    linear = 24 * 2 * 512 * (256 + 37)
    assert forward_flops(PAPER, 37, 100) == counter.get_total_flops() + recurrent + linear


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
