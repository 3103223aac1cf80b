"""What moves the weights: the schedule, which optimiser takes which, and whose state they take up."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crnn.errors import ModelConfigError
from crnn.intermediate import Branched
from crnn.model import CRNNConfig, seeded
from crnn.networks import NETWORKS, RESIDUAL, SMALL
from crnn.optimizer import Optimizer, OptimizerConfig


@given(st.floats(0, 1), st.just(0.0) | st.floats(1e-3, 0.5), st.floats(0.01, 1), st.floats(0, 1))
def test_the_rate_climbs_to_its_peak_stays_there_and_falls_to_its_final_share(
    progress: float, warmup: float, decay: float, final: float
) -> None:
    config = OptimizerConfig(learning_rate=2.0, warmup=warmup, decay=decay, final=final)
    assert 0 <= config.rate(progress) <= 2.0
    assert config.rate(1.0) == pytest.approx(2.0 * final)
    falling = 1.0 - (1.0 - warmup) * decay
    assert [config.rate(warmup), config.rate((warmup + falling) / 2)] == pytest.approx([2.0, 2.0])
    middle = (falling + 1.0) / 2
    assert config.rate(middle) == pytest.approx(1.0 + final)


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.0},
        {"matrix_rate": 0.0},
        {"clip_norm": 0.0},
        {"warmup": 1.0},
        {"ema_decay": 1.0},
        {"decay": 0.0},
        {"intermediate": 1.0},
    ],
)
def test_settings_that_can_not_work_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ModelConfigError):
        OptimizerConfig(**change)  # type: ignore[arg-type]


def test_a_description_holds_what_has_an_effect() -> None:
    changed = OptimizerConfig(matrix_rate=0.3, intermediate=0.2)
    assert OptimizerConfig(**changed.to_dict()) == changed
    assert OptimizerConfig(kind="adamw", matrix_rate=0.3).to_dict() == {
        "kind": "adamw",
        "learning_rate": 0.002,
        "warmup": 0.05,
        "decay": 1.0,
        "final": 0.01,
        "weight_decay": 0.01,
        "clip_norm": 5.0,
        "ema_decay": 0.999,
    }


def optimizer(kind: str, config: CRNNConfig = SMALL, **changes: float) -> Optimizer:
    return Optimizer(seeded(config, 7, seed=0), OptimizerConfig(kind=kind, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("config", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("kind", ["muon", "adamw", "adadelta"])
def test_every_weight_is_moved_by_one_optimiser(kind: str, config: CRNNConfig) -> None:
    both = Branched(seeded(config, 7, seed=0))
    parts = Optimizer(both.network, OptimizerConfig(kind=kind), both.branch).parts  # type: ignore[arg-type]
    groups = [group for part in parts.values() for group in part.param_groups]
    taken = [id(p) for group in groups for p in group["params"]]
    assert sorted(taken) == sorted(id(p) for p in both.parameters())
    if kind == "muon":
        held = [id(p) for group in parts["adamw"].param_groups for p in group["params"]]
        assert {id(p) for p in both.branch.parameters()} <= set(held)


def test_muon_moves_what_lies_between_the_first_and_the_last_layer() -> None:
    network = seeded(RESIDUAL, 7, seed=0)
    parts = Optimizer(network, OptimizerConfig()).parts
    names = {id(p): name for name, p in network.named_parameters()}
    matrices, gates = ({names[id(p)] for p in g["params"]} for g in parts["muon"].param_groups)
    weights = [name for name, p in network.named_parameters() if p.ndim > 1]
    assert weights[0] == "convolutions.0.weight"
    assert matrices == set(weights) - gates - {weights[0], "linears.1.weight"}
    assert gates == {name for name in weights if name.startswith("lstms")}
    assert [g["matrices"] for g in parts["muon"].param_groups] == [1, 4]


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_matrices_decay_and_nothing_else(kind: str) -> None:
    found = optimizer(kind, weight_decay=0.3)
    groups = [group for part in found.parts.values() for group in part.param_groups]
    assert {(p.ndim > 1, group["weight_decay"]) for group in groups for p in group["params"]} == {
        (True, 0.3),
        (False, 0.0),
    }


def test_all_rates_follow_one_schedule() -> None:
    network = seeded(SMALL, 7, seed=0)
    config = OptimizerConfig(learning_rate=0.3, matrix_rate=0.5, warmup=0.5)
    both = Optimizer(network, config)
    for step in range(2):  # a restored one goes on so
        both.step(0.25, torch.tensor(False))
        rates = {name: {g["lr"] for g in part.param_groups} for name, part in both.parts.items()}
        assert rates == {"adamw": {0.15}, "muon": {0.25}}, step
        both.restore(both.state())


@pytest.mark.parametrize("kind", ["adamw", "adadelta"])
def test_the_state_of_another_optimiser_is_refused_by_name(kind: str) -> None:
    with pytest.raises(ModelConfigError, match=f"holds the state of {kind}; .*muon needs .*--start-from"):
        optimizer("muon").restore(optimizer(kind).state())


@pytest.mark.parametrize("kind", ["adamw", "adadelta"])
def test_the_bare_state_of_a_single_optimiser_is_taken_up(kind: str) -> None:
    found, network = optimizer(kind), seeded(SMALL, 7, seed=0)
    earlier = Optimizer(network, OptimizerConfig(kind=kind))  # type: ignore[arg-type]
    for p in network.parameters():
        p.grad = torch.ones_like(p)
    earlier.step(0.5, torch.tensor(True))
    found.restore(earlier.state()[kind])
    assert str(found.state()) == str(earlier.state())
