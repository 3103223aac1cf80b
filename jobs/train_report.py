"""What a training run says to a person when it is over."""

from jobs.cli import cell, table
from pipeline.fit import FitResult
from pipeline.mixture import TrainingSet
from pipeline.resume import BUNDLE
from pipeline.storage import join
from pipeline.train_plan import Plan

CANDIDATE = "candidate"
"""Alias of the version trained last; jobs/evaluate.py --promote decides whether it becomes champion."""


def tell(plan: Plan, done: FitResult, version: str | None) -> str:
    """What became of the run, for a person."""
    config, metrics = plan.config, done.metrics
    rows = [
        (
            name,
            *(int(metrics[f"validation/{name}/{key}"]) for key in ("words", "rejected")),
            *(metrics[f"validation/{name}/{key}"] for key in ("word_accuracy", "cer")),
        )
        for name in config.held_out
    ]
    rejected = any(done.undecodable[label] or found.rejected for label, found in done.audits.items())
    facts = [
        ("run", f"{config.name}{' (was finished before)' if done.resumed else ''}"),
        ("rejects", join(config.run_uri, "audit", "**", "*.parquet") if rejected else "none"),
        ("began with", f"{plan.start.uri}: {plan.start.adoption}" if plan.start else "random weights"),
        ("images seen", cell(done.images_seen)),
        ("images/s", cell(done.images_per_s)),
        ("bundle", f"{join(done.checkpoint_uri, BUNDLE)}, after {cell(int(metrics['images_seen']))} images"),
        ("registered", f"models:/{config.register_as}/{version}, @{CANDIDATE}" if version else "no"),
    ]
    width = max(len(name) for name, _ in facts)
    told = [f"{name.ljust(width)}  {value}" for name, value in facts]
    learnt = [_learnt(done, data) for data in config.training_sets]
    tables = (
        table(("learnt from", "rows", "kept", "share", "epochs", "padding", "rejected"), learnt),
        table(("held-out words", "words", "rejected", "word accuracy", "CER"), rows),
    )
    return "\n\n".join((*tables, "\n".join(told)))


def _learnt(done: FitResult, data: TrainingSet) -> tuple[object, ...]:
    """A row of the table: what became of a set to learn from."""
    found, undecodable = done.audits[data.label], done.undecodable[data.label]
    rejects = dict(found.rejected) | ({"undecodable": undecodable} if undecodable else {})
    return (
        data.label,
        found.read,
        found.kept - undecodable,
        f"{float(data.share):.1%}",
        float(done.images_seen * data.share / found.kept),
        f"{found.padding_share:.1%}",
        ", ".join(f"{cell(count)} {reason}" for reason, count in rejects.items()) or "none",
    )
