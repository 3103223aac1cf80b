"""Merged batch norms: the same logits, nothing of them left, and no way back into training."""

import pytest
import torch
from torch import nn

from crnn.compact import compacted
from crnn.model import CRNN, seeded
from crnn.networks import NETWORKS


def trained(name: str) -> CRNN:
    """A network whose batch norms have seen something, each channel something else."""
    network = seeded(NETWORKS[name], 7, seed=1)
    random = torch.Generator().manual_seed(2)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=random))
            for tensor in (module.bias.data, module.running_mean):
                tensor.copy_(torch.randn(tensor.shape, generator=random))
    return network.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_compacted_network_gives_the_same_logits_without_batch_norms(name: str) -> None:
    images = torch.randint(0, 256, (2, 1, 32, 96), dtype=torch.uint8)
    with torch.inference_mode():
        expected = trained(name)(images)
        model = compacted(trained(name))
        assert torch.allclose(model(images), expected, atol=1e-4, rtol=1e-4)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_a_network_in_training_is_refused() -> None:
    with pytest.raises(ValueError, match=r"call eval\(\) first"):
        compacted(trained("small").train())
