"""A training run before it starts: its data, its identity, the claim on its folder."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from pipeline.audit import Audit
from pipeline.errors import ConfigError
from pipeline.manifest import Manifest
from pipeline.mixture import TrainingSet, plan_mixture
from pipeline.order import Window
from pipeline.packing import Packer, Source
from pipeline.runs import claim
from pipeline.start import Start, find_start
from pipeline.storage import absolute, join
from pipeline.synthesis.stream import Stream, is_stream
from pipeline.tracking import DataInput
from pipeline.train_config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """A run, its data sets and what its weights begin with."""

    config: TrainConfig
    """With URIs that mean the same in every process."""
    data: Mapping[str, Manifest | Stream]
    """By label of the set to learn from, in their order."""
    held_out: Mapping[str, Manifest]
    """By name of the validation set."""
    start: Start | None = None
    """What the weights begin with, where it isn't chance."""

    @property
    def inputs(self) -> list[DataInput]:
        """The data sets, as the run in MLflow names them."""
        sets = [(s.label, s.uri, "training", self.data[s.label]) for s in self.config.training_sets]
        for name, uri in self.config.held_out.items():
            sets.append((name, uri, "validation", self.held_out[name]))
        return [
            DataInput(name=name, uri=uri, fingerprint=m.fingerprint, context=context, rows=m.rows)
            for name, uri, context, m in sets
        ]

    @property
    def identity(self) -> dict[str, object]:
        """All that the run's result depends on, and that a later start under its name must share."""
        config, rules = self.config, self.config.rules
        sets = config.training_sets
        data: object = {s.name: [self.data[s.label].fingerprint, str(s.share)] for s in sets}
        if not sets[0].name:
            data = self.data[sets[0].label].fingerprint
        return {
            "data": data,
            "validation": {name: manifest.fingerprint for name, manifest in self.held_out.items()},
            "charset": rules.charset.fingerprint,
            "network": json.dumps(rules.network.to_dict()),
            "preprocess": config.preprocess.to_dict(),
            "start": self.start and self.start.identity,
            "optimizer": config.optimizer.to_dict(),
            "order": [config.seed, config.window_rows, config.pack_columns],
        }

    @property
    def packer(self) -> Packer:
        """Of the data to learn from."""
        sets = self.config.training_sets
        return self._packer(*(Source(uri=s.uri, content=self.data[s.label], prefix=s.prefix) for s in sets))

    @property
    def held_out_packers(self) -> dict[str, Packer]:
        """By name of the validation set."""
        return {
            name: self._packer(Source(uri=uri, content=self.held_out[name]))
            for name, uri in self.config.held_out.items()
        }

    def windows(self, audits: Mapping[str, Audit]) -> list[Window]:
        """The order of the data.

        Args:
            audits: By label of the set.
        """
        config = self.config
        sets = config.training_sets
        return plan_mixture(
            [audits[s.label].shard_rows for s in sets],
            [s.share for s in sets],
            images=config.images,
            window_rows=config.window_rows,
            seed=config.seed,
            echoes=[d.echo if isinstance(d := self.data[s.label], Stream) else 1 for s in sets],
        )

    def audit_uri(self, data: TrainingSet) -> str:
        """Where the rejects of a set to learn from are written."""
        return join(self.config.run_uri, "audit", *(("train", data.name) if data.name else ()))

    def _packer(self, *sources: Source) -> Packer:
        config = self.config
        return Packer(sources=sources, rules=config.rules, pack_columns=config.pack_columns, seed=config.seed)


def draw_up(config: TrainConfig) -> Plan:
    """The plan of a run; claims nothing, needs no Ray and starts nothing.

    Raises:
        ConfigError: Two of the data sets are the same, or a stream can't be made.
        RegistryError, BundleError, ModelConfigError: The model to begin with isn't there or doesn't fit.
        DataError, StorageError: The data isn't there.
    """
    for name, uri in config.held_out.items():
        if is_stream(uri):
            raise ConfigError(
                f"--validation {name}={uri}: held-out words are the same at every look. Make them with "
                "jobs/synthesize.py --split validation."
            )
    data: dict[str, Manifest | Stream] = {}
    labels: dict[str, str] = {}
    uris: list[str] = []
    for s in config.training_sets:
        if is_stream(s.uri):
            stream = Stream.open(s.uri, config.rules.charset)
            data[s.label], uri = stream, stream.uri
        else:
            uri = absolute(s.uri)
            data[s.label] = Manifest.read(uri)
        uris.append(s.at(uri))
        content = data[s.label]
        once = replace(content, echo=1) if isinstance(content, Stream) else content
        same = labels.setdefault(once.fingerprint, s.label)
        if same != s.label:
            raise ConfigError(
                f"--data: {same} and {s.label} are the same data (fingerprint "
                f"{data[s.label].fingerprint}). Give it once, with both weights together."
            )
    config = replace(
        config,
        data=tuple(uris),
        validation=tuple(f"{name}={absolute(uri)}" for name, uri in config.held_out.items()),
        output=absolute(config.output),
    )
    return Plan(
        config=config,
        data=data,
        held_out={name: Manifest.read(uri) for name, uri in config.held_out.items()},
        start=find_start(config),
    )


def plan_run(config: TrainConfig) -> Plan:
    """As `draw_up`, and claims the run's folder.

    Raises:
        ConfigError: The name belongs to a run on other data, or with another charset, network or order.
    """
    plan = draw_up(config)
    claim(plan.config.run_uri, plan.identity)
    return plan
