"""Muon against singular values, and against torch's own where that takes the parameters."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from crnn.muon import Muon, orthogonal


@given(st.integers(1, 3), st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**31), st.floats(-6, 6))
@settings(max_examples=60, deadline=None)
def test_singular_values_come_near_one_and_vectors_stay(
    count: int, rows: int, columns: int, seed: int, scale: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    matrices = torch.randn(count, rows, columns, generator=random) * 10**scale
    found = orthogonal(matrices)
    assert found.shape == matrices.shape
    for before, after in zip(matrices.double(), found.double(), strict=True):
        u, values, vh = torch.linalg.svd(before, full_matrices=False)
        inside = u.mT @ after @ vh.mT  # after, in the singular vectors of before
        assert torch.allclose(inside, inside.diagonal().diag(), atol=2e-3)
        assert torch.allclose(u @ inside @ vh, after, atol=2e-3)
        large = values / values.norm() > 0.02  # five steps bring these all the way
        assert (inside.diagonal()[large] > 0.6).all()
        assert (inside.diagonal() < 1.3).all()


def test_bf16_is_near_enough() -> None:
    matrices = torch.randn(3, 20, 30, generator=torch.Generator().manual_seed(0))
    found = orthogonal(matrices, bf16=True)
    assert found.dtype == torch.float32
    assert torch.allclose(found, orthogonal(matrices), atol=0.02)


def test_of_nothing_comes_nothing() -> None:
    assert torch.equal(orthogonal(torch.zeros(2, 3, 4)), torch.zeros(2, 3, 4))


SHAPES = ((6, 6), (4, 9), (9, 4), (6, 6))


def gradients(shapes: tuple[tuple[int, ...], ...], steps: int = 5) -> Iterator[list[torch.Tensor]]:
    random = torch.Generator().manual_seed(3)
    for _ in range(steps):
        yield [torch.randn(shape, generator=random) for shape in shapes]


def parameters(shapes: tuple[tuple[int, ...], ...]) -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(5)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in shapes]


def moved(
    optimizer: torch.optim.Optimizer, weights: list[nn.Parameter], steps: list[list[torch.Tensor]]
) -> None:
    for each in steps:
        for weight, gradient in zip(weights, each, strict=True):
            weight.grad = gradient.clone()
        optimizer.step()


def test_plain_matrices_move_as_under_torch_s_own() -> None:
    ours, theirs = parameters(SHAPES), parameters(SHAPES)
    steps = list(gradients(SHAPES))
    moved(Muon([{"params": ours}], lr=0.1, weight_decay=0.5), ours, steps)
    # Theirs computes in bf16.
    moved(torch.optim.Muon(theirs, lr=0.1, weight_decay=0.5), theirs, steps)
    for mine, other, before in zip(ours, theirs, parameters(SHAPES), strict=True):
        assert torch.allclose(mine, other, atol=0.02)
        assert (mine - before).abs().max() > 0.2


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_a_matrix_with_a_row_for_each_output(layout: torch.memory_format) -> None:
    shape, flat = ((8, 3, 2, 3),), ((8, 18),)
    steps = list(gradients(shape))
    convolution, matrix = parameters(shape), parameters(flat)
    matrix[0].data = convolution[0].data.flatten(1).clone()
    convolution[0].data = convolution[0].data.to(memory_format=layout)
    moved(Muon([{"params": convolution}], lr=0.1), convolution, steps)
    moved(Muon([{"params": matrix}], lr=0.1), matrix, [[g.flatten(1) for g in each] for each in steps])
    assert torch.allclose(convolution[0].flatten(1), matrix[0], atol=1e-5)
    assert convolution[0].is_contiguous(memory_format=layout)


def test_gates_lie_one_below_the_other_and_move_apart() -> None:
    whole, gates = parameters(((12, 5),)), parameters(((3, 5),) * 4)
    steps = list(gradients(((12, 5),)))
    for gate, values in zip(gates, whole[0].data.split(3), strict=True):
        gate.data = values.clone()
    moved(Muon([{"params": whole, "matrices": 4}], lr=0.1), whole, steps)
    moved(Muon([{"params": gates}], lr=0.1), gates, [list(each[0].split(3)) for each in steps])
    assert torch.allclose(whole[0], torch.cat(list(gates)), atol=1e-5)


def test_a_refused_step_leaves_weights_and_momentum_alone() -> None:
    first, second = parameters(SHAPES), parameters(SHAPES)
    steps = list(gradients(SHAPES))
    one, other = (Muon([{"params": weights}], lr=0.1, weight_decay=0.1) for weights in (first, second))
    for optimizer in (one, other):
        optimizer.found_inf = torch.tensor(0.0)
    moved(one, first, steps[:2])
    one.found_inf = torch.tensor(1.0)
    moved(one, first, [[torch.full(shape, torch.nan) for shape in SHAPES]])
    one.found_inf = torch.tensor(0.0)
    moved(one, first, steps[2:])
    moved(other, second, steps)
    assert all(torch.equal(mine, expected) for mine, expected in zip(first, second, strict=True))


def test_a_parameter_without_gradient_stays() -> None:
    weights = parameters(SHAPES)
    optimizer = Muon([{"params": weights}], lr=0.1)
    weights[0].grad = torch.ones(SHAPES[0])
    optimizer.step()
    before = parameters(SHAPES)
    assert [torch.equal(a, b) for a, b in zip(weights, before, strict=True)] == [False, True, True, True]


def test_what_is_no_stack_of_matrices_is_refused() -> None:
    for shape, matrices in (((4,), 1), ((5, 3), 4), ((0, 3), 1)):
        with pytest.raises(ValueError, match="don't fit a parameter of shape"):
            Muon([{"params": [nn.Parameter(torch.ones(shape))], "matrices": matrices}], lr=0.1)
