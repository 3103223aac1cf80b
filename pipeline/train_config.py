"""What a training run is made of."""

from dataclasses import dataclass, field
from math import inf
from typing import Literal

from crnn.charset import CHARSETS
from crnn.networks import NETWORKS
from crnn.optimizer import OptimizerConfig
from crnn.precision import Precision
from crnn.preprocess import PreprocessConfig
from pipeline.errors import ConfigError
from pipeline.labels import LabelRules
from pipeline.mixture import TrainingSet, training_sets
from pipeline.mlflow_run import check_model_name
from pipeline.protocols import named_uris
from pipeline.storage import join


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainConfig:
    """A training run. Its name is its identity: starting the same name again goes on where it stopped."""

    name: str
    """Name of the run, of its folder and of its entry in MLflow."""
    data: tuple[str, ...]
    """URI of the data set to learn from, a folder with a manifest.json; or several as name:weight=URI, each
    with its share of every window: a small set comes again and again, a large one is seen in part.
    synth://scene?assets=URI&seed=7 is made while the run goes on, each word once (or document, or easy)."""
    validation: tuple[str, ...]
    """Data sets to look at while training, as name=URI; the first decides which checkpoint is the best."""
    output: str = "out/runs"
    """URI below which the run's folder is kept: checkpoints, rejects, the audit."""
    network: Literal["paper", "residual", "small", "small-residual", "tiny"] = "paper"
    """paper: the network of Shi et al. 2015; residual: deeper, at its cost; small: for CPUs, a seventh of the
    parameters; small-residual: a little deeper; tiny: for tests."""
    charset: Literal["alnum36", "alnum36-drop", "latin94"] = "latin94"
    """alnum36: digits and letters, case folded; alnum36-drop: the same, and labels lose all else instead of
    being rejected; latin94: printable ASCII."""
    start_from: str | None = None
    """A bundle to fine-tune: a folder, s3://… or models:/name@alias, with the same layers; what its charset
    shares with this run's is kept. Weights begin at random where not given."""
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    """How images are made line images."""
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """How the weights move."""
    images: int = 1_000_000
    """Images to see in all, over as many epochs as that takes; rounded up to a whole window. A finished run
    that is started again with more goes on, its schedule fitted to the new end."""
    minutes: float | None = None
    """Wall-clock minutes to train, over all starts; the schedule is fitted to whichever of the two ends
    comes first."""
    patience: int | None = None
    """Looks at the held-out words without a new best, by the word accuracy of the first validation set, after
    which the run ends. It goes on when it is started again with more, or with more images."""
    pack_columns: int = 12_800
    """Pixel columns of one worker's batch: 12,800 are 128 images of 100 pixels."""
    window_rows: int = 16_384
    """Rows that are shuffled together; whole shards, at least one, where there is one data set."""
    seed: int = 7
    """Names the initial weights and the order of the data."""
    workers: int = 1
    """Training workers, one GPU each where there are GPUs; each step takes a batch for each, or for as many
    as the run ever had."""
    min_workers: int | None = None
    """Go on with as few as these while machines are missing: a step keeps its batches, and those that are
    there take several each. The run waits for all workers where not given."""
    resize_s: float = 60.0
    """Seconds between two looks for machines that came back, with min_workers. Those that have come are taken
    in by a new start from the last checkpoint, as after a death."""
    gpu: bool = False
    """Train on GPUs."""
    precision: Precision = "auto"
    """Of the network's forward and backward pass; loss and weights are fp32 in any case."""
    log_every: int = 20
    """Steps between two points of the curves, where the step's device is waited for."""
    save_every: int = 100_000
    """Images between two checkpoints, each with a look at the held-out words."""
    keep: int = 2
    """Best checkpoints to keep, besides the last."""
    max_refused: int = 20
    """Steps in a row whose gradient isn't finite before the run gives up, at the next point of its curves;
    each is left out and counted."""
    max_failures: int = 3
    """How often a worker may die before the run gives up; it goes on from the last checkpoint each time."""
    grace_s: float = 25.0
    """Seconds that the workers get to save when the job is asked to end, by SIGTERM or Ctrl-C."""
    check_batch: bool = False
    """First make sure that the network learns one small batch of the data by heart."""
    dry_run: bool = False
    """Tell what the run would do and cost, on this data and this machine, and train nothing."""
    experiment: str = "crnn"
    """MLflow experiment."""
    tracking: str | None = None
    """MLflow tracking URI; MLFLOW_TRACKING_URI, else a local SQLite file, where not given."""
    register_as: str | None = "crnn"
    """Registered model of which the best bundle becomes a version; None registers nothing."""

    def __post_init__(self) -> None:
        positive: tuple[str, ...] = (
            "images",
            "pack_columns",
            "window_rows",
            "workers",
            "log_every",
            "save_every",
            "keep",
            "max_refused",
        )
        positive += tuple(name for name in ("patience", "min_workers") if getattr(self, name) is not None)
        wrong = [name for name in positive if getattr(self, name) < 1]
        if self.minutes is not None and not 0 < self.minutes < inf:
            raise ConfigError(f"minutes must be a number above 0; {self.minutes} isn't.")
        if self.seed < 0:
            raise ConfigError(f"A seed is a whole number from 0; {self.seed} isn't.")
        if wrong:
            raise ConfigError(f"{', '.join(wrong)} must be at least 1.")
        if self.min_workers is not None and self.min_workers > self.workers:
            raise ConfigError(f"min_workers {self.min_workers} is above workers {self.workers}.")
        if self.resize_s < 0:
            raise ConfigError("resize_s can't be below 0.")
        if "/" in self.name or self.name in ("", ".", ".."):
            raise ConfigError(f"A run's name is a folder's name; {self.name!r} can't be one.")
        if self.register_as is not None:
            check_model_name(self.register_as)
        if not self.validation:
            raise ConfigError("Give at least one --validation data set, as name=URI.")
        named_uris(self.validation, "Validation sets")
        small = [s.name for s in self.training_sets if s.share * self.window_rows < 1]
        if small:
            raise ConfigError(
                f"--data: the weight of {', '.join(small)} is too small: a window of {self.window_rows:,} "
                "rows wouldn't hold one of it. Give it more, or raise --window-rows."
            )
        if NETWORKS[self.network].height != self.preprocess.height:
            raise ConfigError(
                f"Network {self.network} reads height {NETWORKS[self.network].height}; "
                f"preprocess.height is {self.preprocess.height}."
            )

    @property
    def run_uri(self) -> str:
        """The run's folder."""
        return join(self.output, self.name)

    @property
    def least_workers(self) -> int:
        """Without which the run waits."""
        return self.min_workers or self.workers

    @property
    def training_sets(self) -> tuple[TrainingSet, ...]:
        """The data sets to learn from, by name."""
        return training_sets(self.data)

    @property
    def held_out(self) -> dict[str, str]:
        """URIs of the validation sets by name, in their order."""
        return named_uris(self.validation, "Validation sets")

    @property
    def score(self) -> str:
        """The metric by which the best checkpoint is known."""
        return f"validation/{next(iter(self.held_out))}/word_accuracy"

    @property
    def rules(self) -> LabelRules:
        """What can be learnt."""
        charset, network = CHARSETS[self.charset], NETWORKS[self.network]
        return LabelRules(charset=charset, preprocess=self.preprocess, network=network)
