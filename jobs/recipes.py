"""Named training runs, whole configs each; flags only override."""

from collections.abc import Callable

from crnn.optimizer import OptimizerConfig
from crnn.preprocess import PreprocessConfig
from pipeline.train_config import TrainConfig


def paper() -> TrainConfig:
    """The paper's: its network and ADADELTA on batches of 64 words as they are, case folded."""
    return TrainConfig(
        name="paper",
        data=("out/data/train",),
        validation=("held_out=out/data/validation",),
        network="paper",
        charset="alnum36",
        optimizer=OptimizerConfig(
            kind="adadelta", learning_rate=1.0, warmup=0.0, final=1.0, weight_decay=0.0, ema_decay=0.0
        ),
        preprocess=PreprocessConfig(widening=0, contrast=0, turn=0),
        pack_columns=6_400,
        images=128_000_000,
    )


def default() -> TrainConfig:
    """The paper's network with Muon, a rate that falls from half-way on, averaged weights, ASCII."""
    return TrainConfig(
        name="default",
        data=("out/data/train",),
        validation=("held_out=out/data/validation",),
        optimizer=OptimizerConfig(decay=0.5),
        images=10_000_000,
    )


def small() -> TrainConfig:
    """A network of 1.2 million parameters for machines without a GPU, printable ASCII."""
    return TrainConfig(
        name="small",
        data=("out/data/train",),
        validation=("held_out=out/data/validation",),
        network="small",
        optimizer=OptimizerConfig(decay=0.5),
        images=1_000_000,
        save_every=50_000,
    )


def latin94_small() -> TrainConfig:
    """The small network as it ships, on pictures as they are drawn now: two cores and a day or two."""
    return TrainConfig(
        name="latin94-small",
        data=("out/data/scene",),
        validation=("held_out=out/data/scene-validation",),
        network="small",
        preprocess=PreprocessConfig(contrast=0),
        # A rate that stays up lets the run be lengthened: only its last quarter depends on where it ends.
        optimizer=OptimizerConfig(kind="adamw", warmup=0.005, decay=0.25),
        pack_columns=6_400,
        images=3_000_000,
        save_every=60_000,
    )


def latin94() -> TrainConfig:
    """The recogniser as it ships, on pictures as they are drawn now, by the CPUs while a GPU learns."""
    return TrainConfig(
        name="latin94",
        data=("synth://scene?assets=out/assets&seed=11",),
        validation=("held_out=out/data/scene-validation",),
        network="residual",
        preprocess=PreprocessConfig(contrast=0),
        optimizer=OptimizerConfig(kind="adamw", warmup=0.02, ema_decay=0.9995),
        pack_columns=102_400,
        window_rows=32_768,
        images=20_000_000,
        save_every=4_000_000,
        log_every=50,
        gpu=True,
    )


def probe() -> TrainConfig:
    """What jobs/probe.py judges synthesis by: a small network, every picture once, half an hour."""
    return TrainConfig(
        name="probe",
        data=("out/probe/train",),
        validation=("held_out=out/probe/held-out",),
        network="small-residual",
        charset="alnum36-drop",
        optimizer=OptimizerConfig(warmup=0.02, decay=0.5, intermediate=0.3),
        images=300_000,
        save_every=300_000,
        keep=1,
        register_as=None,
    )


def demo() -> TrainConfig:
    """A few minutes on two CPU cores: the small model that comes with the package, tuned on easy words."""
    return TrainConfig(
        name="demo",
        data=("out/demo/data/train",),
        validation=("held_out=out/demo/data/validation",),
        output="out/demo/runs",
        network="small",
        start_from="latin94-small",
        preprocess=PreprocessConfig(contrast=0),
        optimizer=OptimizerConfig(learning_rate=3e-4, matrix_rate=3e-3, ema_decay=0.99),
        pack_columns=6_400,
        window_rows=4_000,
        images=16_000,
        log_every=10,
        save_every=4_000,
        keep=1,
    )


RECIPES: dict[str, Callable[[], TrainConfig]] = {
    recipe.__name__.replace("_", "-"): recipe
    for recipe in (default, small, paper, latin94, latin94_small, probe, demo)
}
"""By name, as the command line takes them."""
