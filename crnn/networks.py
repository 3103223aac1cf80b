"""The networks that recipes name; their parameters counted with printable ASCII, unless it says otherwise."""

from dataclasses import replace

from crnn.model import ConvConfig, CRNNConfig

PAPER = CRNNConfig(
    convolutions=(
        ConvConfig(channels=64, pool=(2, 2)),
        ConvConfig(channels=128, pool=(2, 2)),
        ConvConfig(channels=256),
        ConvConfig(channels=256, pool=(2, 1)),
        ConvConfig(channels=512, batch_norm=True),
        ConvConfig(channels=512, batch_norm=True, pool=(2, 1)),
        ConvConfig(channels=512, kernel=(2, 2), padding=(0, 0)),
    )
)
"""Table 1 of the paper, read literally: 8,330,789 parameters with 37 classes, 24 frames at width 100."""


def _block(channels: int, pool: tuple[int, int] = (1, 1)) -> tuple[ConvConfig, ConvConfig]:
    return (
        ConvConfig(channels=channels, batch_norm=True),
        ConvConfig(channels=channels, batch_norm=True, shortcut=True, pool=pool),
    )


RESIDUAL = CRNNConfig(
    convolutions=(
        ConvConfig(channels=64, batch_norm=True, pool=(2, 2)),
        *_block(64),
        *_block(64),
        ConvConfig(channels=128, batch_norm=True, pool=(2, 2)),
        *_block(128),
        *_block(128),
        ConvConfig(channels=256, batch_norm=True, pool=(2, 1)),
        *_block(256),
        ConvConfig(channels=320, batch_norm=True, pool=(2, 1)),
        *_block(320),
        ConvConfig(channels=512, batch_norm=True, kernel=(2, 1), padding=(0, 0)),
    ),
)
"""At the paper's cost, seventeen convolutions in place of seven: 8.0 million parameters, width / 4 frames."""

SMALL = CRNNConfig(
    convolutions=(
        ConvConfig(channels=32, batch_norm=True, pool=(2, 2)),
        ConvConfig(channels=64, batch_norm=True, pool=(2, 2)),
        ConvConfig(channels=128, batch_norm=True),
        ConvConfig(channels=128, batch_norm=True, pool=(2, 1)),
        ConvConfig(channels=192, batch_norm=True, pool=(2, 1)),
        ConvConfig(channels=192, batch_norm=True, kernel=(2, 1), padding=(0, 0)),
    ),
    hidden=128,
)
"""For CPUs: 1.19 million parameters, width / 4 frames."""

SMALL_RESIDUAL = replace(SMALL, convolutions=(*SMALL.convolutions[:4], *_block(128), *SMALL.convolutions[4:]))
"""The small network and a residual block: 1.48 million parameters, a fifth or a quarter more time a step."""

TINY = CRNNConfig(
    convolutions=(
        ConvConfig(channels=16, batch_norm=True, pool=(2, 2)),
        ConvConfig(channels=32, batch_norm=True, pool=(2, 2)),
        ConvConfig(channels=64, batch_norm=True, pool=(2, 1)),
        ConvConfig(channels=96, batch_norm=True, pool=(2, 1)),
        ConvConfig(channels=96, batch_norm=True, kernel=(2, 1), padding=(0, 0)),
    ),
    hidden=96,
    lstm_layers=1,
)
"""Learns plain words in a minute on a CPU; 254 thousand parameters with 37 classes."""

NETWORKS = {
    "paper": PAPER,
    "residual": RESIDUAL,
    "small": SMALL,
    "small-residual": SMALL_RESIDUAL,
    "tiny": TINY,
}
"""The networks that recipes name."""
