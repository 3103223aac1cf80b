"""The named networks: the paper's numbers, and what the others may cost."""

import pytest

from crnn.model import CRNNConfig, count_parameters, forward_flops, seeded
from crnn.networks import PAPER, RESIDUAL, SMALL, SMALL_RESIDUAL


def test_the_paper_s_network_has_the_paper_s_parameters() -> None:
    assert count_parameters(seeded(PAPER, 37, seed=0)) == 8_330_789


def test_the_paper_s_network_gives_24_frames_at_width_100() -> None:
    assert PAPER.num_frames(100) == 24


@pytest.mark.parametrize("config", [SMALL, SMALL_RESIDUAL])
def test_the_small_networks_fit_a_cpu(config: CRNNConfig) -> None:
    assert count_parameters(seeded(config, 95, seed=0)) <= 1_600_000
    assert forward_flops(config, 95, 100) * 3 < forward_flops(PAPER, 95, 100) < 1.5e9


def test_the_residual_network_costs_about_as_much_as_the_paper_s() -> None:
    assert count_parameters(seeded(RESIDUAL, 95, seed=0)) <= 8_800_000
    assert forward_flops(RESIDUAL, 95, 100) <= 1.5e9
