"""What a training run would do and cost, found out without training or claiming its folder."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from crnn.model import count_parameters, forward_flops, seeded
from pipeline.audit import Audit, audit
from pipeline.machine import cluster_resources
from pipeline.mixture import rows_seen
from pipeline.runs import check_owner, finished, progress
from pipeline.train_plan import Plan
from pipeline.trial import ByHeart, Pace, Trial, learn_by_heart, measure


@dataclass(frozen=True, kw_only=True, slots=True)
class Rehearsal:
    """A run as it would be."""

    plan: Plan
    audits: Mapping[str, Audit]
    """By label of the set to learn from."""
    held_out: Mapping[str, Audit]
    """By name of the validation set."""
    planned: int
    """Images that `images` asks for, in whole windows."""
    often: Mapping[str, float]
    """How often so many show what was read of each set to learn from, by label."""
    windows: int
    before: int
    """Images that earlier starts of this run have seen."""
    spent_s: float
    """Seconds that they trained for."""
    over: bool
    """It has come to its end before."""
    parameters: int
    flops: int
    """Floating-point operations of the forward pass of an image of mean width."""
    pace: Pace
    cpus: int
    """Of the cluster."""
    by_heart: ByHeart | None
    """None where it wasn't asked for."""

    @property
    def images(self) -> int:
        """That the run sees in all, as far as `minutes`, which count training over all starts, reach."""
        minutes = self.plan.config.minutes
        if minutes is None:
            return self.planned
        left_s = max(0.0, 60.0 * minutes - self.spent_s)
        return max(1, min(self.planned, self.before + round(left_s * self.images_per_s)))

    @property
    def times(self) -> Mapping[str, float]:
        """How often it sees what was read of each set to learn from, by label."""
        return {label: often * self.images / self.planned for label, often in self.often.items()}

    @property
    def steps(self) -> int:
        """Of the optimiser, as many as if all windows were cut like the first."""
        packs = self.windows * self.pace.packs * self.images / self.planned
        return math.ceil(packs / self.plan.config.workers)

    @property
    def looks(self) -> int:
        """Checkpoints with a look at the held-out words, the one at the end included."""
        return math.ceil(self.images / self.plan.config.save_every)

    @property
    def trained_per_s(self) -> float:
        """Images a second of all workers, as if none waited for the data or for another."""
        return self.pace.trained_per_s * self.plan.config.workers

    @property
    def packed_per_s(self) -> float:
        """Images a second that all CPUs can pack; those of GPUs' workers have other work."""
        config = self.plan.config
        return self.pace.packed_per_s * max(1, self.cpus - (config.workers if config.gpu else 0))

    @property
    def images_per_s(self) -> float:
        """Of the run between its looks at held-out words."""
        if self.plan.config.gpu:
            return min(self.trained_per_s, self.packed_per_s)
        # The same CPUs do both, one after the other as it were.
        return 1.0 / (1.0 / self.trained_per_s + 1.0 / self.packed_per_s)

    @property
    def seconds(self) -> float:
        """That are left of the run, start-up aside; looks at held-out words come on top of `minutes`."""
        config = self.plan.config
        left = 0 if self.over else max(0, self.images - self.before)
        words = sum(found.kept for found in self.held_out.values())
        looking = math.ceil(left / config.save_every) * words / (self.pace.read_per_s * config.workers)
        return left / self.images_per_s + looking


def rehearse(plan: Plan) -> Rehearsal:
    """Audits the data, plans the order and tries some steps; Ray must be connected. Writes nothing.

    Raises:
        ConfigError: The run's name belongs to another run.
        DataError, StorageError: The data can't be used.
    """
    config, rules = plan.config, plan.config.rules
    check_owner(config.run_uri, plan.identity)
    audits = {s.label: audit(s.uri, plan.data[s.label], rules, None) for s in config.training_sets}
    held_out = {n: audit(uri, plan.held_out[n], rules, None) for n, uri in config.held_out.items()}
    windows = plan.windows(audits)
    seen = rows_seen(windows, [found.shard_rows for found in audits.values()])
    done = finished(config.run_uri)
    trial = Trial.of(plan, windows[0])
    before, spent_s = progress(config.run_uri)
    width = sum(float(s.share) * audits[s.label].mean_width for s in config.training_sets)
    return Rehearsal(
        plan=plan,
        audits=audits,
        held_out=held_out,
        planned=sum(seen),
        often={label: rows / audits[label].kept for label, rows in zip(audits, seen, strict=True)},
        windows=len(windows),
        before=before,
        spent_s=spent_s,
        over=done is not None and done.reaches(config.images, config.minutes, config.patience),
        parameters=count_parameters(seeded(rules.network, rules.charset.num_classes, config.seed)),
        flops=forward_flops(rules.network, rules.charset.num_classes, round(width)),
        pace=trial.run(measure),
        cpus=int(cluster_resources().get("CPU", 1)),
        by_heart=trial.run(learn_by_heart) if config.check_batch else None,
    )
