"""A training run from the driver's side: its audit, the order of its data, Ray Train around it."""

import contextlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchTrainer

from pipeline.audit import Audit, audit, write_left_out
from pipeline.board import Facts, open_board
from pipeline.dataset import UnevenSplit, training_feed
from pipeline.errors import DivergedError, FencedError
from pipeline.grace import run_with_grace
from pipeline.mixture import rows_seen
from pipeline.order import Position, Window
from pipeline.patience import counts_since, looks_without_best
from pipeline.runs import (
    CheckpointFiles,
    End,
    finished,
    latest_checkpoint,
    latest_position,
    mark_finished,
)
from pipeline.snapshot import mend_snapshot
from pipeline.storage import join, resolve
from pipeline.tracking import Tracker
from pipeline.tracking_callback import LastWords, TrackingCallback, send_checkpoint
from pipeline.train_config import TrainConfig
from pipeline.train_plan import Plan
from pipeline.trial import Trial, learn_by_heart
from pipeline.worker import train_loop
from pipeline.worker_config import WorkerConfig


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
    audits: Mapping[str, Audit]
    """By label of the set to learn from."""
    ended: End
    """What the run came to."""
    left_out: Mapping[str, Mapping[str, int]]
    """By label and reason, rows that training met and that no audit had rejected: images that can't be
    decoded, and a stream's words that can't be learnt."""
    resumed: bool
    """The run was finished before, and nothing was trained now."""


def fit(
    plan: Plan,
    tracker: Tracker,
    provenance: Mapping[str, Any],
    show: Callable[[Facts], None],
    check: Callable[[], None] = lambda: None,
) -> FitResult:
    """Trains, or goes on training, the run of this name. Ray must be connected.

    Args:
        plan: The run.
        tracker: Opened; gets the run's points and pictures.
        provenance: Written into the bundle.
        show: Is told how far the run has come, now and then, from another thread.
        check: Raises where the run isn't ours any more.

    Raises:
        DataError, StorageError: The data can't be used.
        BatchCheckError: The network can't learn one batch, and that was to be made sure of.
        FencedError: What `check` raised; workers may save no more.
        DivergedError: The gradient stopped being finite, for too many steps in a row.
        ray.train.TrainingFailedError: A worker failed more often than `max_failures` allows.
        SystemExit, KeyboardInterrupt: As they reached the main thread; the workers have saved before.
    """
    config = plan.config
    checked = {
        s.label: audit(s.uri, plan.data[s.label], config.rules, plan.audit_uri(s))
        for s in config.training_sets
    }
    for name, uri in config.held_out.items():
        audit(uri, plan.held_out[name], config.rules, join(config.run_uri, "audit", name))
    done = finished(config.run_uri)
    resumed = done is not None and done.reaches(config.images, config.minutes, config.patience)
    if done is None or not resumed:
        mend_snapshot(config.run_uri, config.score)
        since = counts_since(done, config.patience)
        windows = plan.windows(checked)
        worker = _worker(plan, checked, windows, since, provenance)
        try:
            result = _train(plan, windows, worker, tracker, show=show, check=check)
            check()
        except FencedError:
            raise
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
            patience=config.patience,
            ended=_end(config, len(windows), since),
        )
    # Whatever MLflow missed on the way; what it has stays as it is.
    for uri in dict.fromkeys((done.checkpoint_uri, done.last_uri)):
        send_checkpoint(CheckpointFiles.at(uri), tracker)
    rejects = CheckpointFiles.at(done.last_uri).rejects()
    return FitResult(
        checkpoint_uri=done.checkpoint_uri,
        metrics=done.metrics,
        ended=done.ended,
        images_seen=done.images_seen,
        images_per_s=done.images_per_s,
        audits=checked,
        left_out={
            s.label: write_left_out(plan.audit_uri(s), rejects, s.prefix) for s in config.training_sets
        },
        resumed=resumed,
    )


def _worker(
    plan: Plan,
    checked: Mapping[str, Audit],
    windows: list[Window],
    since: int,
    provenance: Mapping[str, Any],
) -> WorkerConfig:
    config = plan.config
    return WorkerConfig(
        packer=plan.packer,
        held_out=plan.held_out_packers,
        epoch_images={
            f"train/epochs{'/' if s.name else ''}{s.name}": float(checked[s.label].kept / s.share)
            for s in config.training_sets
            if not checked[s.label].endless
        },
        optimizer=config.optimizer,
        precision=config.precision,
        packs_per_step=config.workers,
        total_images=sum(rows_seen(windows, [found.shard_rows for found in checked.values()])),
        total_seconds=math.inf if config.minutes is None else 60.0 * config.minutes,
        patience=math.inf if config.patience is None else config.patience,
        score=config.score,
        counts_since=since,
        log_every=config.log_every,
        save_every=config.save_every,
        start=ray.put(plan.start.weights) if plan.start else None,
        language=ray.put(plan.start.language if plan.start else None),
        max_refused=config.max_refused,
        gpu=config.gpu,
        provenance=dict(provenance),
    )


def _train(
    plan: Plan,
    windows: list[Window],
    worker: WorkerConfig,
    tracker: Tracker,
    *,
    show: Callable[[Facts], None],
    check: Callable[[], None],
) -> "ray.train.Result":
    config = plan.config
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")  # the dashboard's page on training
    if config.check_batch and latest_checkpoint(config.run_uri) is None:
        Trial.of(plan, windows[0]).run(learn_by_heart).require()

    def feed() -> "ray.data.Dataset":
        # Called in the controller at every start of the workers: the latest checkpoint says what is left.
        consumed = latest_position(config.run_uri) or Position()
        elastic_on_cpus = config.min_workers and not config.gpu
        beside = config.workers if elastic_on_cpus else None
        return training_feed(worker.packer, windows, consumed, beside=beside)

    with open_board(show) as board:
        trainer = TorchTrainer(
            train_loop,
            train_loop_config={"config": worker, "board": board},
            scaling_config=_scaling(config),
            run_config=_run_config(config, tracker),
            datasets={"train": feed},
            dataset_config=UnevenSplit(),
        )
        result = run_with_grace(trainer.fit, lambda: ray.get(board.stop.remote()), config.grace_s, check)
        given_up = ray.get(board.given_up.remote())
    if given_up:
        step, ids = given_up
        named = ", ".join(ids[:8]) + (", …" if len(ids) > 8 else "")
        raise DivergedError(
            f"After step {step} the gradient of {config.max_refused} steps in a row or more wasn't finite. "
            f"{f'Without a finite loss in the last of them: {named}. ' if ids else ''}"
            "Look at these images and labels, or give the run another --name and lower rates: "
            "--optimizer.learning-rate, and --optimizer.matrix-rate under muon."
        )
    return result


def _end(config: TrainConfig, windows: int, since: int) -> End:
    """What a run that has just ended came to, by its last checkpoint."""
    checkpoint = latest_checkpoint(config.run_uri)
    history = CheckpointFiles.of(checkpoint).history() if checkpoint else []
    if config.patience and looks_without_best(history, config.score, since) >= config.patience:
        return "patience"
    position = latest_position(config.run_uri) or Position()
    return "minutes" if config.minutes and position.through < windows else "images"


def _scaling(config: TrainConfig) -> "ray.train.ScalingConfig":
    wanted = (config.min_workers, config.workers) if config.min_workers else config.workers
    return ray.train.ScalingConfig(  # type: ignore[call-arg]  # Ray's stub names Tune's
        num_workers=wanted,  # type: ignore[arg-type]  # Tune's knows no pair
        elastic_resize_monitor_interval_s=config.resize_s,
        use_gpu=config.gpu,
        resources_per_worker={"CPU": 1, "GPU": 1} if config.gpu else {"CPU": 1},
    )


def _run_config(config: TrainConfig, tracker: Tracker) -> "ray.train.RunConfig":
    storage, tracking = resolve(config.output), TrackingCallback(tracker.config)
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
        callbacks=[tracking, LastWords(tracking)],  # type: ignore[list-item]  # Ray's stub names Tune's
    )
