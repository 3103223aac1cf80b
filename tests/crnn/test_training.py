"""One step: the gradient's weighting over processes, averages, recovery, learning at all."""

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from crnn.ctc import ctc_loss
from crnn.errors import ModelConfigError
from crnn.model import ConvConfig, CRNNConfig, seeded
from crnn.networks import SMALL
from crnn.optimizer import Optimizer, OptimizerConfig
from crnn.training import Batch, Learner, Refused, frozen_batch_norm

Kind = Literal["muon", "adamw", "adadelta"]
TINY = CRNNConfig(
    convolutions=(ConvConfig(channels=8, batch_norm=True, pool=(16, 4)), ConvConfig(channels=8, pool=(2, 1))),
    hidden=8,
    lstm_layers=1,
)


def random_batch(count: int, seed: int, width: int = 64, classes: int = 7) -> Batch:
    random = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 5, (count,), generator=random, dtype=torch.int32)
    return Batch(
        images_NCHW=torch.randint(0, 256, (count, 1, 32, width), generator=random, dtype=torch.uint8),
        targets=torch.randint(1, classes, (int(lengths.sum()),), generator=random, dtype=torch.int32),
        target_lengths=lengths,
    )


def part(batch: Batch, start: int, stop: int) -> Batch:
    ends = [0, *batch.target_lengths.cumsum(0).tolist()]
    return Batch(
        images_NCHW=batch.images_NCHW[start:stop],
        targets=batch.targets[ends[start] : ends[stop]],
        target_lengths=batch.target_lengths[start:stop],
    )


def plain_gradient(batch: Batch, share: float = 0.0) -> torch.Tensor:
    """The gradient of the mean loss, written as plainly as can be; with a branch's share of it."""
    network = seeded(TINY, 7, seed=0).train()
    branch = torch.nn.Linear(TINY.convolutions[-1].channels, 7)
    put_numbers(branch)
    with frozen_batch_norm(network):
        logits_NTV = network(batch.images_NCHW)
        mean = ctc_loss(logits_NTV, batch.targets, batch.target_lengths).mean()
        if share:
            features = network.convolutions(batch.images_NCHW / 127.5 - 1.0)
            early_NTV = branch(features[:, :, 0].permute(0, 2, 1))
            early = ctc_loss(early_NTV, batch.targets, batch.target_lengths).mean()
            mean = (1 - share) * mean + share * early
        mean.backward()
    parameters = (*network.parameters(), *branch.parameters())
    return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])


def put_numbers(branch: torch.nn.Module) -> None:
    """A branch that has learnt something: from zeros no gradient reaches the convolutions."""
    random = torch.Generator().manual_seed(5)
    for parameter in branch.parameters():
        torch.nn.init.normal_(parameter, std=0.1, generator=random)


class Capture(Optimizer):
    """Keeps the gradient that a step would have applied."""

    def __init__(self, learner: Learner) -> None:
        super().__init__(learner.network, learner.config)
        self.seen, self._parameters = torch.empty(0), list(learner.model.parameters())

    def step(self, progress: float, applied: torch.Tensor) -> None:
        assert (progress, bool(applied)) == (0.5, True)
        self.seen = torch.cat([p.grad.flatten().clone() for p in self._parameters if p.grad is not None])


Shares = list[list[tuple[int, int]]]
"""Of each process, the ranges of the images in each of its batches."""


def one_rank(rank: int, shares: Shares, intermediate: float, folder: str) -> None:
    store = dist.FileStore(f"{folder}/store", len(shares))
    dist.init_process_group("gloo", store=store, rank=rank, world_size=len(shares))
    torch.set_num_threads(1)
    network = seeded(TINY, 7, seed=0)
    learner = Learner(
        network,
        OptimizerConfig(clip_norm=1e9, intermediate=intermediate),
        precision="fp32",
        world_size=len(shares),
        wrap=lambda model: torch.nn.parallel.DistributedDataParallel(model, broadcast_buffers=False),
    )
    if intermediate:
        put_numbers(learner.model.module.branch)  # type: ignore[union-attr, arg-type]
    learner.optimizer = capture = Capture(learner)
    batch = random_batch(11, seed=4)
    batches = [part(batch, start, stop) for start, stop in shares[rank]]
    network.train()
    with frozen_batch_norm(network):
        # `step` turns training mode on again, batch norm included; frozen statistics are what is compared.
        learner.model.train = lambda mode=True: learner.model  # type: ignore[method-assign, assignment]
        if batches:
            learner.step(*batches, global_count=11, progress=0.5)
        else:
            learner.idle_step(random_batch(1, seed=9), progress=0.5)
    torch.save(capture.seen, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


SHARES: list[Shares] = [
    [[(0, 11)]],
    [[(0, 6)], [(6, 11)]],
    [[(0, 10)], [(10, 11)]],
    [[(0, 11)], []],
    [[(0, 4), (4, 9), (9, 11)]],
    [[(0, 2), (2, 5)], [(5, 11)]],
    [[(0, 8), (8, 9), (9, 11)], []],
]


@pytest.mark.parametrize(
    ("shares", "intermediate"), [*((each, 0.0) for each in SHARES), (SHARES[0], 0.3), (SHARES[-1], 0.3)]
)
def test_workers_with_any_shares_give_the_gradient_of_the_global_batch(
    shares: Shares, intermediate: float, tmp_path: Path
) -> None:
    arguments = (shares, intermediate, str(tmp_path))
    mp.start_processes(one_rank, args=arguments, nprocs=len(shares), start_method="spawn")
    expected = plain_gradient(random_batch(11, seed=4), intermediate)
    for rank in range(len(shares)):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["muon", "adamw", "adadelta"])
def test_a_few_images_are_learnt_by_heart(kind: Kind) -> None:
    network = seeded(SMALL, 7, seed=0)
    rate = 1.0 if kind == "adadelta" else 3e-3
    config = OptimizerConfig(kind=kind, learning_rate=rate, warmup=0.1, ema_decay=0.0)
    learner = Learner(network, config, precision="fp32")
    batch, steps = random_batch(4, seed=1), 150
    losses = [
        float(learner.step(batch, global_count=4, progress=i / steps).loss_sum) / 4 for i in range(steps)
    ]
    assert losses[-1] < 0.1 < losses[0]


@pytest.mark.parametrize("intermediate", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["muon", "adamw", "adadelta"])
def test_a_restored_learner_goes_on_exactly(kind: Kind, intermediate: float) -> None:
    def fresh() -> Learner:
        network, config = seeded(TINY, 7, seed=0), OptimizerConfig(kind=kind, intermediate=intermediate)
        return Learner(network, config, precision="fp32")

    batches = [random_batch(4, seed=i) for i in range(6)]
    straight = fresh()
    for i, batch in enumerate(batches):
        straight.step(batch, global_count=4, progress=i / 6)
    first, second = fresh(), fresh()
    for i, batch in enumerate(batches[:3]):
        first.step(batch, global_count=4, progress=i / 6)
    second.restore(first.state())
    for i, batch in enumerate(batches[3:], start=3):
        second.step(batch, global_count=4, progress=i / 6)
    assert second.steps == straight.steps == 6
    for name, tensor in straight.network.state_dict().items():
        assert torch.equal(tensor, second.network.state_dict()[name])
        assert torch.equal(straight.averaged[name], second.averaged[name])


@pytest.mark.parametrize(("before", "after", "told"), [(0.0, 0.3, "without"), (0.3, 0.0, "of")])
def test_a_state_with_a_branch_and_one_without_do_not_fit(before: float, after: float, told: str) -> None:
    saved = Learner(seeded(TINY, 7, seed=0), OptimizerConfig(intermediate=before)).state()
    network = seeded(TINY, 7, seed=1)
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(ModelConfigError, match=f"is {told} intermediate CTC; .*is {after:g}"):
        Learner(network, OptimizerConfig(intermediate=after)).restore(saved)
    assert all(torch.equal(t, network.state_dict()[name]) for name, t in weights.items())


@pytest.mark.parametrize("kind", ["muon", "adamw", "adadelta"])
def test_a_gradient_that_is_not_finite_is_not_applied(kind: Kind) -> None:
    network, config = seeded(TINY, 7, seed=0), OptimizerConfig(kind=kind)
    learner = Learner(network, config, precision="fp32")
    before = {name: t.clone() for name, t in network.state_dict().items()}
    impossible = random_batch(2, seed=0, width=32)
    target = torch.ones(40, dtype=torch.int32)  # 40 characters don't fit 8 frames
    batch = Batch(images_NCHW=impossible.images_NCHW, targets=target, target_lengths=torch.tensor([20, 20]))
    good = random_batch(2, seed=1)
    outcome = learner.step(batch, global_count=2, progress=0.5)
    assert math.isinf(float(outcome.loss_sum))
    assert not outcome.applied
    assert all(torch.equal(t, network.state_dict()[name]) for name, t in before.items())
    assert all(torch.equal(t, learner.averaged[name]) for name, t in before.items())
    learner.step(batch, global_count=2, progress=0.5)
    assert learner.take_refused() == Refused(count=2, in_a_row=2)
    learner.step(batch, global_count=2, progress=0.5)
    assert learner.take_refused() == Refused(count=1, in_a_row=3)
    assert learner.step(good, global_count=2, progress=0.5).applied
    assert learner.take_refused() == Refused(count=0, in_a_row=0)
    assert learner.steps == 4
    # What was refused left no trace in the optimiser either: the step after it is a fresh learner's first.
    fresh = seeded(TINY, 7, seed=0)
    Learner(fresh, config, precision="fp32").step(good, global_count=2, progress=0.5)
    assert all(torch.equal(t, network.state_dict()[name]) for name, t in fresh.state_dict().items())


def test_idle_steps_leave_batch_norm_statistics_alone() -> None:
    network = seeded(TINY, 7, seed=0)
    learner = Learner(network, OptimizerConfig(), precision="fp32")
    norms = {n: t.clone() for n, t in network.state_dict().items() if "running" in n or "tracked" in n}
    learner.idle_step(random_batch(2, seed=0), progress=0.5)
    assert norms
    assert all(torch.equal(t, network.state_dict()[n]) for n, t in norms.items())


def test_averaged_weights_follow_the_weights() -> None:
    network = seeded(TINY, 7, seed=0)
    learner = Learner(network, OptimizerConfig(ema_decay=0.5, learning_rate=1e-2), precision="fp32")
    expected = {n: t.clone() for n, t in network.state_dict().items() if t.is_floating_point()}
    for i in range(5):
        learner.step(random_batch(4, seed=i), global_count=4, progress=0.5)
        decay = min(0.5, (2 + i) / (11 + i))
        for name, tensor in network.state_dict().items():
            if name in expected:
                expected[name] = decay * expected[name] + (1 - decay) * tensor
    for name, tensor in expected.items():
        assert torch.allclose(learner.averaged[name], tensor, atol=1e-6)


def on(device: str, batch: Batch) -> Batch:
    return Batch(
        images_NCHW=batch.images_NCHW.to(device),
        targets=batch.targets.to(device),
        target_lengths=batch.target_lengths,
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("precision", "off"), [("fp32", 2e-3), ("bf16", 3e-2)])
def test_a_gpu_takes_the_steps_that_a_cpu_takes(precision: str, off: float) -> None:
    losses: dict[str, list[float]] = {}
    for device in ("cpu", "cuda"):
        network = seeded(SMALL, 7, seed=0).to(device)
        kind = precision if device == "cuda" else "fp32"
        learner = Learner(network, OptimizerConfig(learning_rate=1e-4, matrix_rate=1e-3), precision=kind)  # type: ignore[arg-type]
        batches = [on(device, random_batch(16, seed=i)) for i in range(8)]
        steps = [learner.step(b, global_count=16, progress=0.5) for b in batches]
        losses[device] = [float(step.loss_sum) for step in steps]
    assert losses["cuda"] == pytest.approx(losses["cpu"], rel=off)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_small_gradients_do_not_vanish_in_a_gpu_s_lstm() -> None:
    network = seeded(SMALL, 7, seed=0).to("cuda")
    learner = Learner(network, OptimizerConfig(), precision="bf16")
    batch = on("cuda", random_batch(16, seed=0))
    norms = []
    for scale in (1.0, 1e-9):  # fp16 ends at 6e-8
        network.zero_grad()
        (learner.losses(batch).sum() * scale).backward()
        gradients = [p.grad.double() for p in network.lstms.parameters() if p.grad is not None]
        norms.append(float(torch.stack([g.norm() for g in gradients]).norm()) / scale)
    assert norms[1] == pytest.approx(norms[0], rel=1e-2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_step_on_a_gpu_waits_for_nothing_but_what_ctc_itself_waits_for() -> None:
    network = seeded(SMALL, 7, seed=0).to("cuda")
    learner, batch = Learner(network, OptimizerConfig()), on("cuda", random_batch(16, seed=0))
    for _ in range(3):  # the first steps make the optimiser's state
        learner.step(batch, global_count=16, progress=0.5)

    def waits(work: Callable[[], object]) -> int:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                work()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(warning.message) for warning in caught)

    logits_NTV = torch.zeros(16, 16, 7, device="cuda", requires_grad=True)

    def ctc() -> None:
        ctc_loss(logits_NTV, batch.targets, batch.target_lengths).sum().backward()

    assert waits(lambda: learner.step(batch, global_count=16, progress=0.5)) <= waits(ctc)
