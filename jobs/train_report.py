"""What a training run says to a person: when it is over, and what it would do."""

from collections import Counter
from collections.abc import Mapping, Sequence

from crnn.charset import CHARSETS
from jobs.cli import cell, duration, table
from pipeline.audit import Audit
from pipeline.fit import FitResult
from pipeline.foresight import expected_characters, foresee
from pipeline.mixture import TrainingSet
from pipeline.rehearsal import Rehearsal
from pipeline.resume import BUNDLE
from pipeline.storage import join
from pipeline.train_config import TrainConfig
from pipeline.train_plan import Plan

SHAPE = ("longest", "width", "padding", "rejected")
"""Columns that tell what a data set's rows are like: characters, mean pixels, share of padding, why not."""
SHOWN = 12
"""Characters outside the charset that are named."""


def tell(plan: Plan, done: FitResult, model: str | None) -> str:
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
    rejected = any(done.left_out[label] or found.rejected for label, found in done.audits.items())
    facts = [
        ("run", f"{config.name}{' (was finished before)' if done.resumed else ''}"),
        ("rejects", join(config.run_uri, "audit", "**", "*.parquet") if rejected else "none"),
        ("began with", plan.start.told if plan.start else "random weights"),
        ("ended", _ended(config, done)),
        ("images seen", cell(done.images_seen)),
        ("images/s", cell(done.images_per_s)),
        ("bundle", f"{join(done.checkpoint_uri, BUNDLE)}, after {cell(int(metrics['images_seen']))} images"),
        ("registered", model or "no"),
    ]
    learnt = [_learnt(done, data) for data in config.training_sets]
    tables = (
        table(("learnt from", "rows", "kept", "share", "epochs", "padding", "rejected"), learnt),
        table(("held-out words", "words", "rejected", "word accuracy", "CER"), rows),
    )
    return "\n\n".join((*tables, _listed(facts)))


def described(config: TrainConfig, metrics: Mapping[str, float]) -> str:
    """A version of the registered model, in a line for its page; lists show the beginning."""
    told = []
    for name in config.held_out:
        accuracy, cer, words = (
            metrics[f"validation/{name}/{key}"] for key in ("word_accuracy", "cer", "words")
        )
        told.append(f"{name}: {accuracy:.1%} of {cell(int(words))} words, CER {cer:.2%}.")
    return " ".join([*told, f"Run {config.name}, after {cell(int(metrics['images_seen']))} images."])


def foretell(rehearsal: Rehearsal) -> str:
    """What a run would do and cost, for a person."""
    config, pace, start = rehearsal.plan.config, rehearsal.pace, rehearsal.plan.start
    sets = config.training_sets
    learnt = [
        (
            s.label,
            *(_unless_endless(a, value) for value in (a.read, a.kept)),
            f"{float(s.share):.1%}",
            _unless_endless(a, rehearsal.times[s.label]),
            *_shape(a),
        )
        for s in sets
        for a in (rehearsal.audits[s.label],)
    ]
    held_out = [(name, a.read, a.kept, *_shape(a)) for name, a in rehearsal.held_out.items()]
    expected = expected_characters(rehearsal)
    outside = sum((Counter(a.outside) for a in rehearsal.audits.values()), Counter[str]()).most_common()
    shown = ", ".join(f"{c} in {cell(count)} rows" for c, count in outside[:SHOWN])
    more = f" and {len(outside) - SHOWN} more" if len(outside) > SHOWN else ""
    drops = CHARSETS[config.charset].drop_others
    fate = "dropped, with the row where nothing is left" if drops else "rejected"
    state = f"goes on after {cell(rehearsal.before)} images" if rehearsal.before else "new"
    each = f" each of {config.workers} workers" if config.workers > 1 else ""
    limit = ""
    if config.minutes:
        limit = f", about {cell(rehearsal.images)} of them in {config.minutes:g} minutes of training"
    facts = [
        ("run", f"{config.name}: {'finished before' if rehearsal.over else state}"),
        ("begins with", start.told if start else "random weights"),
        (
            "network",
            f"{config.network}: {cell(rehearsal.parameters)} parameters; "
            f"{rehearsal.flops / 1e9:.2f} GFLOPs to read an image of mean width, thrice to learn from it",
        ),
        (
            "charset",
            f"{config.charset}: {sum(map(bool, expected.values()))} of {len(expected)} characters occur; "
            f"outside it {f'{shown}{more}, {fate}' if shown else 'none'}",
        ),
        ("order", f"{cell(rehearsal.planned)} images in {cell(rehearsal.windows)} windows{limit}"),
        ("steps", f"about {cell(rehearsal.steps)}, of {cell(config.pack_columns)} pixel columns{each}"),
        ("checkpoints", f"{cell(rehearsal.looks)}, one every {cell(config.save_every)} images"),
        (
            "measured",
            f"{pace.timed} steps on {pace.device}: {cell(pace.trained_per_s)} images/s a worker; "
            f"reading {cell(pace.read_per_s)}/s; a core packs {cell(pace.packed_per_s)}/s",
        ),
        (
            "time",
            f"{duration(rehearsal.seconds)} left at {cell(rehearsal.images_per_s)} images/s, start-up aside",
        ),
    ]
    if by_heart := rehearsal.by_heart:
        facts.append(
            (
                "one batch",
                f"{by_heart.images} images, loss {by_heart.before:.3g} at first and {by_heart.after:.3g} "
                f"after {by_heart.steps} steps: {'learnt by heart' if by_heart.learnt else 'not learnt'}",
            )
        )
    parts = [
        table(("learn from", "rows", "kept", "share", "epochs", *SHAPE), learnt),
        table(("held-out words", "rows", "kept", *SHAPE), held_out),
        _listed(facts),
    ]
    if told := [f"! {warning}" for warning in foresee(rehearsal)]:
        parts.append("\n".join(told))
    return "\n\n".join(parts)


def _ended(config: TrainConfig, done: FitResult) -> str:
    if done.ended == "patience":
        return f"its patience: no new best at {config.patience} looks at {next(iter(config.held_out))}"
    return "its time" if done.ended == "minutes" else "all its images seen"


def _shape(found: Audit) -> tuple[object, ...]:
    rejected = ", ".join(f"{cell(count)} {reason}" for reason, count in found.rejected.items())
    return found.longest, round(found.mean_width), f"{found.padding_share:.1%}", rejected or "none"


def _listed(facts: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in facts)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in facts)


def _learnt(done: FitResult, data: TrainingSet) -> tuple[object, ...]:
    """A row of the table: what became of a set to learn from."""
    found, left_out = done.audits[data.label], Counter(done.left_out[data.label])
    if found.endless:
        # What its sample held came again in training.
        kept = round(done.images_seen * data.share)
        read, rejects = kept + left_out.total(), left_out
    else:
        read, kept, rejects = found.read, found.kept - left_out.total(), Counter(found.rejected) + left_out
    return (
        data.label,
        read,
        kept,
        f"{float(data.share):.1%}",
        _unless_endless(found, float(done.images_seen * data.share / found.kept)),
        f"{found.padding_share:.1%}",
        ", ".join(f"{cell(count)} {reason}" for reason, count in rejects.items()) or "none",
    )


def _unless_endless(found: Audit, value: object) -> object:
    """None of a stream, of which the audit knows a sample alone."""
    return None if found.endless else value
