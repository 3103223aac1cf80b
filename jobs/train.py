"""Training: a recipe, its data sets, a run that goes on where it stopped, a registered model at the end.

python jobs/train.py small --data s3://bucket/synth/train --validation held_out=s3://bucket/synth/validation
python jobs/train.py small --data scene:0.7=s3://bucket/scene receipts:0.3=s3://bucket/receipts --validation …
"""

from collections.abc import Sequence
from dataclasses import asdict

from jobs.cli import Progress, parse_recipe
from jobs.recipes import RECIPES
from jobs.runtime import connect_ray, require_room, run_job
from jobs.train_report import described, foretell, tell
from pipeline import provenance
from pipeline.board import Facts
from pipeline.errors import FencedError
from pipeline.fit import FitResult, fit
from pipeline.lease import Lease, acquire
from pipeline.registry import advance_alias, register_bundle
from pipeline.rehearsal import rehearse
from pipeline.resume import BUNDLE
from pipeline.storage import join, local_copy
from pipeline.tracking import Tracker, TrackerConfig, flatten, resolve_tracking_uri
from pipeline.train_config import TrainConfig
from pipeline.train_plan import Plan, draw_up, plan_run

CANDIDATE = "candidate"
"""Alias of the version trained last; jobs/evaluate.py --promote decides whether it becomes champion."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code says how it ended."""
    return run_job(lambda: run(parse_recipe(RECIPES, argv, "jobs/train.py")))


def run(config: TrainConfig) -> None:
    """Trains, registers the best bundle, and says how good it is; or tells what that would be."""
    if config.dry_run:
        rehearse_run(draw_up(config))
        return
    plan = plan_run(config)
    with acquire(plan.config.run_uri, config.name) as lease:
        print(tell(plan, *train(plan, lease)))


def rehearse_run(plan: Plan) -> None:
    """Says what the run would do and cost; an error where it can't learn one batch and that was asked for."""
    with connect_ray():
        require_room(plan.config.least_workers, gpu=plan.config.gpu)
        rehearsal = rehearse(plan)
    print(foretell(rehearsal))
    if rehearsal.by_heart:
        rehearsal.by_heart.require()


def train(plan: Plan, lease: Lease) -> tuple[FitResult, str | None]:
    """Trains and registers a run while nobody else is at it; returns what came of it, and as which model."""
    config, came_from = plan.config, provenance.collect()
    tracker = Tracker(
        TrackerConfig(
            tracking_uri=resolve_tracking_uri(config.tracking),
            experiment=config.experiment,
            run_name=config.name,
            remedy="Its checkpoints hold them: start the same run again when MLflow answers, to send them.",
        )
    )
    lineage = {"crnn.start_from": plan.start.uri} if plan.start else {}
    origin = came_from.as_dict() | ({"started_from": plan.start.as_dict()} if plan.start else {})
    tracker.open_run(params=flatten(asdict(config)), tags=came_from.tags() | lineage, inputs=plan.inputs)
    line = Line()
    try:
        with connect_ray():
            require_room(config.least_workers, gpu=config.gpu)
            done = fit(plan, tracker, origin, line.show, lease.check)
        lease.check(ask=True)
        model = register(plan, tracker, done)
    except FencedError:  # the run in MLflow is the other's, too
        raise
    except BaseException as error:
        tracker.finish("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    finally:
        line.close()
    tracker.finish("FINISHED")
    return done, model


class Line:
    """The live line of a training run."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def show(self, facts: Facts) -> None:
        """Renews the line."""
        if self._progress is None:
            self._progress = Progress(int(facts["total"]), "images", start=int(facts["images"]))
        looked = {"accuracy": f"{facts['accuracy']:.1%}"} if "accuracy" in facts else {}
        self._progress.update(
            int(facts["images"]),
            at_most_s=facts["seconds_left"],
            step=int(facts["step"]),
            loss=round(facts["loss"], 3),
            data_wait=f"{facts['data_wait']:.0%}",
            **looked,
        )

    def close(self) -> None:
        """Ends it."""
        if self._progress is not None:
            self._progress.close()


def register(plan: Plan, tracker: Tracker, done: FitResult) -> str | None:
    """Makes the best bundle a version of the registered model, and its candidate unless a later one is that
    already; returns what it is known by."""
    config = plan.config
    if config.register_as is None:
        return None
    with local_copy(join(done.checkpoint_uri, BUNDLE) + "/") as directory:
        version = register_bundle(
            directory,
            config.register_as,
            tracking_uri=config.tracking,
            run_id=tracker.run_id(deadline_s=30.0),
            experiment=config.experiment,
            metrics=done.metrics,
            description=described(config, done.metrics),
        )
    latest = advance_alias(config.register_as, CANDIDATE, version, tracking_uri=config.tracking)
    return f"models:/{config.register_as}/{version}{f', @{CANDIDATE}' if latest else ''}"


if __name__ == "__main__":
    raise SystemExit(main())
