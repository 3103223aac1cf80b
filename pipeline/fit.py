"""A training run from the driver's side: its identity, the order of its data, Ray Train around it."""

import contextlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchTrainer

from pipeline.audit import Audit, audit, write_undecodable
from pipeline.board import Facts, open_board
from pipeline.dataset import UnevenSplit, training_feed
from pipeline.errors import DivergedError
from pipeline.grace import run_with_grace
from pipeline.manifest import Manifest
from pipeline.order import Position, plan_windows
from pipeline.packing import Packer
from pipeline.runs import (
    CheckpointFiles,
    claim,
    finished,
    latest_checkpoint,
    latest_position,
    mark_finished,
)
from pipeline.snapshot import mend_snapshot
from pipeline.start import Start, find_start
from pipeline.storage import absolute, join, resolve
from pipeline.tracking import DataInput, Tracker
from pipeline.tracking_callback import TrackingCallback, send_checkpoint
from pipeline.train_config import TrainConfig
from pipeline.worker import WorkerConfig, train_loop


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A run whose folder is claimed."""

    config: TrainConfig
    """With URIs that mean the same in every process."""
    data: Manifest
    held_out: Mapping[str, Manifest]
    """By name of the validation set."""
    start: Start | None = None
    """What the weights begin with, where it isn't chance."""

    @property
    def inputs(self) -> list[DataInput]:
        """The data sets, as the run in MLflow names them."""
        sets = [("train", self.config.data, "training", self.data)]
        sets += [(n, u, "validation", self.held_out[n]) for n, u in self.config.held_out.items()]
        return [
            DataInput(name=name, uri=uri, fingerprint=m.fingerprint, context=context, rows=m.rows)
            for name, uri, context, m in sets
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class FitResult:
    """A finished run."""

    checkpoint_uri: str
    """Of the best checkpoint; `bundle/` in it is the recogniser."""
    metrics: Mapping[str, float]
    """Of that checkpoint, on the held-out words."""
    images_seen: int
    """In all."""
    images_per_s: float
    """Over the whole run, start-up and looks at held-out words aside."""
    audit: Audit
    undecodable: int
    """Images that the audit, which reads labels, let pass and that can't be decoded."""
    resumed: bool
    """The run was finished before, and nothing was trained now."""


def plan_run(config: TrainConfig) -> Plan:
    """Claims the run's folder; needs no Ray and starts nothing.

    Raises:
        ConfigError: The name belongs to a run on other data, or with another charset, network or order.
        RegistryError, BundleError, ModelConfigError: The model to begin with isn't there or doesn't fit.
        DataError, StorageError: The data isn't there.
    """
    config = replace(
        config,
        data=absolute(config.data),
        validation=tuple(f"{name}={absolute(uri)}" for name, uri in config.held_out.items()),
        output=absolute(config.output),
    )
    plan = Plan(
        config=config,
        data=Manifest.read(config.data),
        held_out={name: Manifest.read(uri) for name, uri in config.held_out.items()},
        start=find_start(config),
    )
    claim(config.run_uri, _identity(plan))
    return plan


def fit(
    plan: Plan, tracker: Tracker, provenance: Mapping[str, Any], show: Callable[[Facts], None]
) -> FitResult:
    """Trains, or goes on training, the run of this name. Ray must be connected.

    Args:
        plan: The run.
        tracker: Opened; gets the run's points and pictures.
        provenance: Written into the bundle.
        show: Is told how far the run has come, now and then, from another thread.

    Raises:
        DataError, StorageError: The data can't be used.
        DivergedError: The gradient stopped being finite, for too many steps in a row.
        ray.train.TrainingFailedError: A worker failed more often than `max_failures` allows.
        SystemExit, KeyboardInterrupt: As they reached the main thread; the workers have saved before.
    """
    config = plan.config
    checked = audit(config.data, plan.data, config.rules, join(config.run_uri, "audit"))
    for name, uri in config.held_out.items():
        audit(uri, plan.held_out[name], config.rules, join(config.run_uri, "audit", name))
    done = finished(config.run_uri)
    resumed = done is not None and done.reaches(config.images, config.minutes)
    if done is None or not resumed:
        mend_snapshot(config.run_uri, config.score)
        try:
            result = _train(plan, checked, tracker, provenance, show)
        except BaseException:
            # The controller, which sends points as they are saved, is gone before the last of them.
            with contextlib.suppress(Exception):
                if checkpoint := latest_checkpoint(config.run_uri):
                    send_checkpoint(CheckpointFiles.of(checkpoint), tracker)
            raise
        scored = [pair for pair in result.best_checkpoints or () if config.score in pair[1]]
        # Of equals the later one: it has learnt longer.
        best, metrics = max(scored, key=lambda pair: (pair[1][config.score], pair[1]["step"]))
        done = mark_finished(
            config.run_uri,
            best,
            metrics,
            last=result.checkpoint or best,
            last_metrics=result.metrics or metrics,
            images=config.images,
            minutes=config.minutes,
        )
    # Whatever MLflow missed on the way; what it has stays as it is.
    for uri in {done.checkpoint_uri, done.last_uri}:
        send_checkpoint(CheckpointFiles.at(uri), tracker)
    return FitResult(
        checkpoint_uri=done.checkpoint_uri,
        metrics=done.metrics,
        images_seen=done.images_seen,
        images_per_s=done.images_per_s,
        audit=checked,
        undecodable=write_undecodable(config.run_uri, CheckpointFiles.at(done.last_uri).rejects()),
        resumed=resumed,
    )


def _train(
    plan: Plan, checked: Audit, tracker: Tracker, provenance: Mapping[str, Any], show: Callable[[Facts], None]
) -> "ray.train.Result":
    config = plan.config
    windows = plan_windows(
        checked.kept_per_shard, images=config.images, window_rows=config.window_rows, seed=config.seed
    )
    packer = _packer(config, config.data, plan.data)
    worker = WorkerConfig(
        packer=packer,
        held_out={n: _packer(config, uri, plan.held_out[n]) for n, uri in config.held_out.items()},
        optimizer=config.optimizer,
        precision=config.precision,
        total_images=sum(checked.kept_per_shard[s] for w in windows for s in w.shards),
        total_seconds=math.inf if config.minutes is None else 60.0 * config.minutes,
        log_every=config.log_every,
        save_every=config.save_every,
        start=ray.put(plan.start.weights) if plan.start else None,
        max_refused=config.max_refused,
        gpu=config.gpu,
        provenance=dict(provenance),
    )

    def feed() -> "ray.data.Dataset":
        # Called in the controller at every start of the workers: the latest checkpoint says what is left.
        return training_feed(packer, windows, latest_position(config.run_uri) or Position())

    with open_board(show) as board:
        trainer = TorchTrainer(
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
        )
        result = run_with_grace(trainer.fit, lambda: ray.get(board.stop.remote()), config.grace_s)
        given_up = ray.get(board.given_up.remote())
    if given_up:
        step, ids = given_up
        named = ", ".join(ids[:8]) + (", …" if len(ids) > 8 else "")
        raise DivergedError(
            f"After step {step} the gradient of {config.max_refused} steps in a row wasn't finite. "
            f"{f'Without a finite loss in the last of them: {named}. ' if ids else ''}"
            "Look at these images and labels, or give the run another --name and a lower "
            "--optimizer.learning-rate."
        )
    return result


def _identity(plan: Plan) -> dict[str, object]:
    """All that a run's result depends on, and that a later start under its name must share."""
    config, rules = plan.config, plan.config.rules
    return {
        "data": plan.data.fingerprint,
        "validation": {name: manifest.fingerprint for name, manifest in plan.held_out.items()},
        "charset": rules.charset.fingerprint,
        "network": json.dumps(asdict(rules.network)),
        "preprocess": asdict(config.preprocess),
        "start": config.start_from,
        "optimizer": asdict(config.optimizer),
        "order": [config.seed, config.window_rows, config.pack_columns],
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
