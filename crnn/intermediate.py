"""Intermediate CTC (Lee and Watanabe 2021, arXiv 2102.03216): the convolutions are asked for the text, too.

A layer of its own reads their frames while the network learns, and is left behind: a recogniser costs what it
did.
"""

from typing import cast

import torch
from torch import Tensor, nn

from crnn.model import CRNN


class Branched(nn.Module):
    """A network in training, with a branch behind its convolutions.

    Args:
        network: Its parameters are this module's as well.
    """

    def __init__(self, network: CRNN) -> None:
        super().__init__()
        self.network = network
        channels = network.config.convolutions[-1].channels
        self.branch = nn.Linear(channels, cast(nn.Linear, network.linears[-1]).out_features)
        # Nothing is asked of the convolutions before the branch knows better than chance.
        nn.init.zeros_(self.branch.weight)
        nn.init.zeros_(self.branch.bias)
        self.branch.to(next(network.parameters()).device)

    def forward(self, images_NCHW: Tensor) -> tuple[Tensor, Tensor]:
        """The network's logits_NTV, and the branch's of the same shape; images as the network takes them."""
        sequence_NTC = self.network.frames(images_NCHW)
        with torch.autocast(images_NCHW.device.type, enabled=False):
            return self.network.read(sequence_NTC), self.branch(sequence_NTC)
