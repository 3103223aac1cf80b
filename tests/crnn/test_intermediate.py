"""The branch behind the convolutions: what it reads, what it asks of whom, and that it is left behind."""

import torch

from crnn.intermediate import Branched
from crnn.model import seeded
from crnn.networks import NETWORKS
from crnn.optimizer import OptimizerConfig
from crnn.training import Batch, Learner

SMALL = NETWORKS["small"]


def images(count: int = 3) -> torch.Tensor:
    random = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 1, 32, 64), generator=random, dtype=torch.uint8)


def test_the_network_reads_as_it_does_without_a_branch() -> None:
    network = seeded(SMALL, 11, seed=3).eval()
    logits_NTV, early_NTV = Branched(network)(images())
    assert torch.equal(logits_NTV, network(images()))
    assert early_NTV.shape == logits_NTV.shape == (3, SMALL.num_frames(64), 11)


def test_the_branch_asks_nothing_of_the_lstms() -> None:
    network = seeded(SMALL, 11, seed=3)
    both = Branched(network)
    torch.nn.init.normal_(both.branch.weight)
    both(images())[1].square().sum().backward()
    moved = {name for name, p in network.named_parameters() if p.grad is not None}
    assert moved == {name for name, _ in network.named_parameters() if name.startswith("convolutions")}


def test_logits_are_fp32_under_autocast() -> None:
    both = Branched(seeded(SMALL, 11, seed=3))
    torch.nn.init.normal_(both.branch.weight)
    with torch.autocast("cpu", torch.bfloat16):
        found = both(images())
    assert [logits.dtype for logits in found] == [torch.float32, torch.float32]


def test_what_is_averaged_and_reported_is_the_network_s_own() -> None:
    network = seeded(SMALL, 11, seed=3)
    learner = Learner(network, OptimizerConfig(intermediate=0.5), precision="fp32")
    lengths = torch.tensor([2, 1, 3])
    batch = Batch(images_NCHW=images(), targets=torch.tensor([1, 2, 3, 4, 4, 5]), target_lengths=lengths)
    plain = Learner(seeded(SMALL, 11, seed=3), OptimizerConfig(), precision="fp32")
    outcome, expected = (each.step(batch, global_count=3, progress=0.5) for each in (learner, plain))
    assert torch.equal(outcome.losses, expected.losses)
    assert learner.averaged.keys() == network.state_dict().keys()
    assert learner.state()["branch"].keys() == {"weight", "bias"}
    assert learner.state()["branch"]["bias"].any()  # it learns


def test_the_convolutions_alone_learn_to_read() -> None:
    network = seeded(SMALL, 11, seed=3)
    config = OptimizerConfig(intermediate=0.5, warmup=0.1, ema_decay=0.0)
    learner = Learner(network, config, precision="fp32")
    lengths = torch.tensor([2, 1, 3])
    batch = Batch(images_NCHW=images(), targets=torch.tensor([1, 2, 3, 4, 4, 5]), target_lengths=lengths)
    for i in range(120):
        learner.step(batch, global_count=3, progress=i / 120)
    _, early_NTV = learner.model(batch.images_NCHW)
    found = [row.unique_consecutive() for row in early_NTV.argmax(-1)]
    assert [row[row > 0].tolist() for row in found] == [[1, 2], [3], [4, 4, 5]]


def test_an_image_that_only_the_branch_can_not_read_is_told() -> None:
    learner = Learner(seeded(SMALL, 11, seed=3), OptimizerConfig(intermediate=0.5), precision="fp32")
    batch = Batch(images_NCHW=images(), targets=torch.tensor([1, 2, 3]), target_lengths=torch.ones(3).int())
    assert learner.finite(batch).tolist() == [True, True, True]
    learner.model.branch.bias.data[2] = torch.nan  # type: ignore[union-attr, operator]
    assert learner.losses(batch).isfinite().all()
    assert learner.finite(batch).tolist() == [False, False, False]
