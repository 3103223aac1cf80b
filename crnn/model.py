"""The CRNN of Shi, Bai, Yao (2015, arXiv 1507.05717): convolutions, bidirectional LSTMs, a class per frame.

Shapes: N batch, C channels, H height, W width, T frames, V classes with the CTC blank at 0.
The model is images → logits: no text, no loss, no device inside.
"""

from dataclasses import asdict, dataclass, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from crnn.errors import ModelConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvConfig:
    """One convolution, ReLU, and the pooling after it."""

    channels: int
    """Output channels."""
    kernel: tuple[int, int] = (3, 3)
    """Kernel height and width."""
    padding: tuple[int, int] = (1, 1)
    """Zero padding above and below, left and right."""
    batch_norm: bool = False
    """Batch normalisation between the convolution and its ReLU."""
    pool: tuple[int, int] = (1, 1)
    """Max-pooling window, which is also its stride: height and width; (1, 1) is none."""
    shortcut: bool = False
    """What the layer before this one read is added ahead of this one's ReLU: both are a residual block
    (He et al. 2015, arXiv 1512.03385)."""

    def out_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Height and width behind this layer of an input of `size`."""
        height, width = (
            (n + 2 * p - k + 1) // pool
            for n, p, k, pool in zip(size, self.padding, self.kernel, self.pool, strict=True)
        )
        return height, width


@dataclass(frozen=True, kw_only=True, slots=True)
class CRNNConfig:
    """The network without its number of classes, which the charset gives.

    Raises:
        ModelConfigError: The convolutions don't bring the height down to exactly 1, or a shortcut joins what
            differs in size.
    """

    height: int = 32
    """Height in pixels of the line images."""
    convolutions: tuple[ConvConfig, ...]
    """From the image down to one row of feature columns, the frames."""
    hidden: int = 256
    """Units of each LSTM in each direction."""
    lstm_layers: int = 2
    """Bidirectional LSTMs, one on the other, each followed by a linear map."""

    def __post_init__(self) -> None:
        for number, conv in enumerate(self.convolutions):
            if conv.shortcut:
                self._check_shortcut(number)
        rows = self._grid(width=256)[0]
        if rows != 1:
            raise ModelConfigError(
                f"The convolutions turn height {self.height} into {rows} rows of features; the recurrent "
                "part reads exactly one. Change a pooling or the last kernel."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for files. Shortcuts stand there where there are some: networks without any have
        one description, whatever release describes them."""
        values = asdict(self)
        for conv in values["convolutions"]:
            if not conv["shortcut"]:
                del conv["shortcut"]
        return values

    def num_frames(self, width: int) -> int:
        """Frames that the network gives for an image of `width` pixels; 0 or less where it is too narrow."""
        return self._grid(width)[1]

    def _check_shortcut(self, number: int) -> None:
        if number < 2 or self.convolutions[number - 1].shortcut:
            raise ModelConfigError(
                f"Convolution {number}, from 0, ends a residual block; it needs one before it that belongs "
                "to no other block, and one before that."
            )
        ahead, first, second = self.convolutions[number - 2 : number + 1]
        size = (self.height, 256)
        inside = first.out_size(size)
        plain = replace(second, pool=(1, 1))
        if ahead.channels != second.channels or plain.out_size(inside) != size:
            raise ModelConfigError(
                f"Convolutions {number - 1} and {number}, from 0, are a residual block of "
                f"{ahead.channels} channels to {second.channels} that must keep channels, height and width."
            )

    def _grid(self, width: int) -> tuple[int, int]:
        return reduce(lambda size, conv: conv.out_size(size), self.convolutions, (self.height, width))


class ResidualBlock(nn.Module):
    """ReLU of the input and of what two convolutions make of it.

    Args:
        layers: From the input to what is added to it; size and channels stay.
    """

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, features_NCHW: Tensor) -> Tensor:
        """Of the shape of the input."""
        return torch.relu_(self.layers(features_NCHW) + features_NCHW)


class CRNN(nn.Module):
    """Images to logits.

    Args:
        config: The layers.
        num_classes: Characters and the blank.
    """

    def __init__(self, config: CRNNConfig, num_classes: int) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        channels = 1
        followers = (*config.convolutions[1:], None)
        block: list[nn.Module] = []
        for conv, follower in zip(config.convolutions, followers, strict=True):
            block.append(nn.Conv2d(channels, conv.channels, conv.kernel, padding=conv.padding))
            if conv.batch_norm:
                block.append(nn.BatchNorm2d(conv.channels))
            block = [ResidualBlock(block)] if conv.shortcut else [*block, nn.ReLU(inplace=True)]
            if conv.pool != (1, 1):
                block.append(nn.MaxPool2d(conv.pool))
            if not (follower and follower.shortcut):
                layers += block
                block = []
            channels = conv.channels
        self.convolutions = nn.Sequential(*layers)
        self.lstms = nn.ModuleList()
        self.linears = nn.ModuleList()
        for layer in range(config.lstm_layers):
            last = layer == config.lstm_layers - 1
            self.lstms.append(nn.LSTM(channels, config.hidden, bidirectional=True, batch_first=True))
            channels = num_classes if last else config.hidden
            self.linears.append(nn.Linear(2 * config.hidden, channels))
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.LSTM):
                for name, parameter in module.named_parameters():
                    if "weight_hh" in name:
                        nn.init.orthogonal_(parameter)
            elif isinstance(module, ResidualBlock) and isinstance(module.layers[-1], nn.BatchNorm2d):
                # Blocks begin as if they weren't there (Goyal et al. 2017, arXiv 1706.02677).
                nn.init.zeros_(module.layers[-1].weight)

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Logits of every frame: logits_NTV with T = config.num_frames(W).

        Args:
            images_NCHW: uint8, C = 1, H = config.height, all of one canonical width W.
        """
        return self.read(self.frames(images_NCHW))

    def frames(self, images_NCHW: Tensor) -> Tensor:
        """What the convolutions make of images: sequence_NTC, C being the last one's channels."""
        features = self.convolutions(images_NCHW.to(self._dtype) / 127.5 - 1.0)
        sequence_NTC: Tensor = features.to(self._dtype).squeeze(2).transpose(1, 2)
        return sequence_NTC

    def read(self, sequence_NTC: Tensor) -> Tensor:
        """logits_NTV of such frames, computed in the type of the weights."""
        # A tenth of the work, in which bf16 changes most of the texts that it changes. On GPUs autocast takes
        # cuDNN's LSTM to fp16 whatever it is told (pytorch's AutocastRNN.cpp): small gradients vanish there.
        with torch.autocast(sequence_NTC.device.type, enabled=False):
            for lstm, linear in zip(self.lstms, self.linears, strict=True):
                sequence_NTC = linear(lstm(sequence_NTC)[0])
        return sequence_NTC


def count_parameters(model: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def forward_flops(config: CRNNConfig, num_classes: int, width: int) -> int:
    """Floating-point operations (2 per multiply-add) of one image's forward pass at `width` pixels."""
    size, channels, total = (config.height, width), 1, 0
    for conv in config.convolutions:
        height, columns = replace(conv, pool=(1, 1)).out_size(size)
        total += 2 * height * columns * conv.channels * channels * conv.kernel[0] * conv.kernel[1]
        size, channels = conv.out_size(size), conv.channels
    for layer in range(config.lstm_layers):
        outputs = num_classes if layer == config.lstm_layers - 1 else config.hidden
        per_frame = 2 * 4 * config.hidden * (channels + config.hidden) + 2 * config.hidden * outputs
        total += 2 * size[1] * per_frame
        channels = outputs
    return total


def seeded(config: CRNNConfig, num_classes: int, seed: int) -> CRNN:
    """A new network whose weights depend on the seed alone, leaving the global generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return CRNN(config, num_classes)


def channels_last(network: CRNN) -> CRNN:
    """The same network, its weights laid out as convolutions are fastest; images are best laid out so."""
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # unknown to torch's stubs
    return network
