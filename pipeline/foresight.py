"""What a person should know before a training run is paid for."""

from collections import Counter
from collections.abc import Iterator

from pipeline.manifest import Manifest
from pipeline.rehearsal import Rehearsal
from pipeline.synthesis.stream import Stream

REJECTED, TIGHT, OFTEN, FEW_STEPS, SELDOM = 0.05, 0.01, 100, 20, 100
"""Shares of rows, repetitions of a set, steps of warm-up and occurrences of a character that are worth a
warning."""


def expected_characters(rehearsal: Rehearsal) -> Counter[str]:
    """How often the run sees each character of the charset."""
    expected: Counter[str] = Counter()
    for label, found in rehearsal.audits.items():
        times = rehearsal.times[label]
        expected.update({c: round(count * times) for c, count in found.characters.items()})
    return expected


def foresee(rehearsal: Rehearsal) -> Iterator[str]:
    """Sentences that say what may go wrong and what can be done about it."""
    yield from _of_sets(rehearsal)
    yield from _of_charset(rehearsal)
    yield from _of_held_out(rehearsal)
    config, steps = rehearsal.plan.config, rehearsal.steps
    warm = config.optimizer.warmup * steps
    if config.optimizer.warmup and warm < FEW_STEPS:
        yield (
            f"The warm-up lasts {warm:.0f} of about {steps:,} steps: raise --images or --optimizer.warmup, "
            "or lower --pack-columns."
        )
    if config.save_every >= rehearsal.images:
        yield (
            "Held-out words are looked at once only, at the end: lower --save-every to see curves, and to "
            "lose less where the run dies."
        )
    if config.patience and config.patience >= rehearsal.looks:
        yield (
            f"--patience {config.patience} can't end a run of {rehearsal.looks} looks at held-out words: "
            "lower it or --save-every."
        )
    if config.gpu and rehearsal.packed_per_s < rehearsal.trained_per_s:
        yield (
            f"The GPUs will wait for data: {rehearsal.cpus} CPUs pack about {rehearsal.packed_per_s:,.0f} "
            f"images/s, steps take {rehearsal.trained_per_s:,.0f}. Use more CPUs, data coded as raw, or "
            "a stream's echo=2."
        )


def _of_sets(rehearsal: Rehearsal) -> Iterator[str]:
    for label, found in rehearsal.audits.items():
        times, rejected = rehearsal.times[label], found.read - found.kept
        if times < 1 and not found.endless:
            yield f"{label} is seen in part: {times:.1%} of its rows."
        if times > OFTEN and not found.endless:
            yield f"Each row of {label} comes {times:,.0f} times: it may be learnt by heart."
        if rejected > REJECTED * found.read:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in found.rejected.items())
            yield f"{rejected / found.read:.1%} of {label} can't be learnt from: {reasons}."
        if found.tight > TIGHT * found.kept:
            yield (
                f"{found.tight / found.kept:.1%} of {label} have less than twice the frames that their "
                "labels need: narrow images of long texts, or texts that belong to other images."
            )


def _of_charset(rehearsal: Rehearsal) -> Iterator[str]:
    expected = expected_characters(rehearsal)
    never = "".join(c for c, count in expected.items() if not count)
    seldom = "".join(c for c, count in expected.items() if 0 < count < SELDOM)
    if never:
        yield f"Characters that the run never sees can't be learnt: {' '.join(never)}"
    if seldom:
        yield f"Characters that the run sees less than {SELDOM} times will be read badly: {' '.join(seldom)}"


def _of_held_out(rehearsal: Rehearsal) -> Iterator[str]:
    data = rehearsal.plan.data
    unsure: list[str] = []
    for name, held_out in rehearsal.plan.held_out.items():
        for label, learnt in data.items():
            if learnt.fingerprint == held_out.fingerprint:
                yield f"{name} is {label}: what is read there is no measure of reading new words."
            elif (apart := _apart(learnt, held_out)) is None:
                unsure.append(f"{name} and {label}")
            elif not apart:
                yield f"{name} has the words and fonts of {label}: make it with --split validation."
    if unsure:
        yield f"Whether they share words, fonts or images can't be told of {', of '.join(unsure)}."


def _apart(one: Manifest | Stream, other: Manifest) -> bool | None:
    """Whether two data sets have words and fonts of their own; None where nothing tells."""
    assets, splits = ([m.config.get(key) for m in (one, other)] for key in ("assets", "split"))
    if None in (*assets, *splits) or assets[0] != assets[1]:
        return None
    return bool(splits[0] != splits[1])
