"""A training run from the driver's side: its identity, the order of its data, Ray Train around it."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import ray.train
from ray.train.torch import TorchTrainer

from pipeline.audit import Audit, audit
from pipeline.board import Facts, open_board
from pipeline.dataset import UnevenSplit, training_feed
from pipeline.manifest import Manifest
from pipeline.order import Position, plan_windows
from pipeline.packing import Packer
from pipeline.runs import CheckpointFiles, Finished, claim, finished, latest_position, mark_finished
from pipeline.storage import join, resolve
from pipeline.tracking import Tracker
from pipeline.tracking_callback import TrackingCallback
from pipeline.train_config import TrainConfig
from pipeline.worker import WorkerConfig, train_loop


@dataclass(frozen=True, kw_only=True, slots=True)
class FitResult:
    """A finished run."""

    checkpoint_uri: str
    """Of the best checkpoint; `bundle/` in it is the recogniser."""
    metrics: Mapping[str, float]
    """Of that checkpoint, on the held-out words."""
    audit: Audit
    resumed: bool
    """The run was finished before, and nothing was trained now."""


def fit(
    config: TrainConfig, tracker: Tracker, provenance: Mapping[str, Any], show: Callable[[Facts], None]
) -> FitResult:
    """Trains, or goes on training, the run of this name. Ray must be connected.

    Args:
        config: The run.
        tracker: Opened; gets the run's points and pictures.
        provenance: Written into the bundle.
        show: Is told how far the run has come, now and then, from another thread.

    Raises:
        ConfigError: The name belongs to a run on other data, or with another charset, network or order.
        DataError, StorageError: The data can't be used.
        ray.train.TrainingFailedError: A worker failed more often than `max_failures` allows.
    """
    manifest = Manifest.read(config.data)
    held_out = {name: (uri, Manifest.read(uri)) for name, uri in config.held_out.items()}
    claim(config.run_uri, _identity(config, manifest, {name: m for name, (_, m) in held_out.items()}))
    checked = audit(config.data, manifest, config.rules, join(config.run_uri, "audit"))
    for name, (uri, held) in held_out.items():
        audit(uri, held, config.rules, join(config.run_uri, "audit", name))
    done = finished(config.run_uri)
    if done is not None:
        # What MLflow missed of the run, if anything.
        tracker.log_points(CheckpointFiles.at(done.last_uri).history())
        return _result(done, checked, resumed=True)
    windows = plan_windows(
        checked.kept_per_shard, images=config.images, window_rows=config.window_rows, seed=config.seed
    )
    packer = _packer(config, config.data, manifest)
    worker = WorkerConfig(
        packer=packer,
        held_out={name: _packer(config, uri, m) for name, (uri, m) in held_out.items()},
        optimizer=config.optimizer,
        precision=config.precision,
        total_images=sum(checked.kept_per_shard[s] for w in windows for s in w.shards),
        log_every=config.log_every,
        save_every=config.save_every,
        threads=1 if config.gpu else max(1, (os.cpu_count() or 1) // config.workers),
        provenance=dict(provenance),
    )

    def feed() -> "ray.data.Dataset":
        # Called in the controller at every start of the workers: the latest checkpoint says what is left.
        return training_feed(packer, windows, latest_position(config.run_uri) or Position())

    with open_board(show) as board:
        result = TorchTrainer(
            train_loop,
            train_loop_config={"config": worker, "board": board},
            scaling_config=ray.train.ScalingConfig(
                num_workers=config.workers,
                use_gpu=config.gpu,
                resources_per_worker={"CPU": 1, "GPU": 1} if config.gpu else {"CPU": 1},
            ),
            run_config=_run_config(config, tracker),
            datasets={"train": feed},
            dataset_config=UnevenSplit(),
        ).fit()
    best, metrics = max(result.best_checkpoints or (), key=lambda pair: float(pair[1][config.score]))
    done = mark_finished(config.run_uri, best, metrics, last=result.checkpoint or best)
    tracker.log_points(CheckpointFiles.at(done.last_uri).history())
    return _result(done, checked, resumed=False)


def _identity(config: TrainConfig, manifest: Manifest, held_out: Mapping[str, Manifest]) -> dict[str, object]:
    """All that a run's result depends on, and that a later start under its name must share."""
    rules = config.rules
    return {
        "data": manifest.fingerprint,
        "validation": {name: m.fingerprint for name, m in held_out.items()},
        "charset": rules.charset.fingerprint,
        "network": json.dumps(asdict(rules.network)),
        "preprocess": asdict(config.preprocess),
        "optimizer": asdict(config.optimizer),
        "order": [config.seed, config.window_rows, config.pack_columns, config.images],
    }


def _packer(config: TrainConfig, uri: str, manifest: Manifest) -> Packer:
    return Packer(
        data_uri=uri,
        manifest=manifest,
        rules=config.rules,
        pack_columns=config.pack_columns,
        seed=config.seed,
    )


def _run_config(config: TrainConfig, tracker: Tracker) -> "ray.train.RunConfig":
    storage = resolve(config.output)
    return ray.train.RunConfig(
        name=config.name,
        storage_path=storage.path,
        storage_filesystem=storage.filesystem,
        failure_config=ray.train.FailureConfig(max_failures=config.max_failures),
        checkpoint_config=ray.train.CheckpointConfig(
            num_to_keep=config.keep,
            checkpoint_score_attribute=config.score,
            checkpoint_score_order="max",
        ),
        callbacks=[TrackingCallback(tracker.config)],  # type: ignore[list-item]  # Ray's stub names Tune's
    )


def _result(done: Finished, checked: Audit, *, resumed: bool) -> FitResult:
    return FitResult(checkpoint_uri=done.checkpoint_uri, metrics=done.metrics, audit=checked, resumed=resumed)
