"""One run in MLflow, written so that doing anything twice leaves the same as doing it once.

Only `MlflowClient`: the fluent interface keeps a run per process and has no place in actors. Calls block
and raise; `pipeline.tracking` keeps them out of everybody's way.
"""

import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from PIL import Image

from pipeline.credentials import refuse_passwords
from pipeline.errors import ConfigError, TrackingError

RUN_TAG = "crnn.run"
"""Tag with the name that identifies a run within its experiment."""
TABLES_TAG = "mlflow.loggedArtifacts"
TRAINING_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}
"""What the UI goes by when it shows runs with their curves, not the traces of agents."""
RunStatus = Literal["FINISHED", "FAILED", "KILLED"]
SQLITE = "sqlite:///"
MAX_METRICS, MAX_PARAMS, MAX_PARAM_LENGTH, MAX_TAG_LENGTH = 1000, 100, 6000, 8000
MAX_DIGEST_LENGTH = 36
MOST_NAME = 250
"""Characters of a run's or an experiment's name."""


@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One point of a curve."""

    key: str
    """Name of the curve."""
    value: float
    step: int
    """Optimiser steps of the run so far."""
    timestamp_ms: int
    """When it was measured, in milliseconds since 1970; sent again with the same, it is the same point."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataInput:
    """A data set that a run reads."""

    name: str
    uri: str
    fingerprint: str
    """That names its content."""
    context: str
    """What for: training, validation."""
    rows: int | None
    """None of a stream, which has no end."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunDetails:
    """What is written down when a run is opened."""

    params: Mapping[str, str] = field(default_factory=dict)
    """See `flatten`."""
    tags: Mapping[str, str] = field(default_factory=dict)
    inputs: Sequence[DataInput] = ()
    start_ms: int | None = None
    """When the work began, in milliseconds since 1970; now where not given."""


def resolve_tracking_uri(uri: str | None, directory: Path | None = None) -> str:
    """A tracking URI that means the same in every process of a job.

    Args:
        uri: As a person gives it; None takes MLFLOW_TRACKING_URI, else the SQLite file out/mlflow.db.
        directory: What relative paths start from; None is the current directory.

    Raises:
        ConfigError: MLflow can't track there, or the URI holds a password.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}out/mlflow.db"
    refuse_passwords([uri], "The tracking URI")
    if uri.startswith(SQLITE):
        path = Path(uri.removeprefix(SQLITE))
        if not path.is_absolute():  # else the current directory isn't asked for: it may be gone
            path = ((directory or Path.cwd()) / path).absolute()
        return f"{SQLITE}{path}"
    if not re.match(r"(https?|postgresql|mysql|mssql)(\+\w+)?://", uri):
        raise ConfigError(
            f"{uri!r} is no tracking URI that can be used; give http://host:port of an MLflow server, or "
            f"{SQLITE}path/to/mlflow.db."
        )
    return uri


def mlflow_client(tracking_uri: str) -> Any:
    """A client that gives up soon: by default MLflow waits for minutes for a server that is gone.

    Sets environment variables of MLflow in this process where they aren't set.
    """
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    from mlflow import MlflowClient

    if tracking_uri.startswith(SQLITE):
        Path(tracking_uri.removeprefix(SQLITE)).parent.mkdir(parents=True, exist_ok=True)
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


def experiment_id(client: Any, tracking_uri: str, name: str) -> str:
    """The id of an experiment, which is made where it doesn't exist."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        artifacts = None  # the server's own place
        if tracking_uri.startswith(SQLITE):
            folder = Path(tracking_uri.removeprefix(SQLITE)).parent / "mlartifacts"
            artifacts = (folder / re.sub(r"[^\w.-]", "_", name)).as_uri()
        try:
            return str(client.create_experiment(name, artifacts, tags=TRAINING_EXPERIMENT))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)
    return str(found.experiment_id)


def check_name(name: str) -> None:
    """Refuses what can't name a run or an experiment.

    Raises:
        ConfigError: It is empty, too long, or would end MLflow's own quotes.
    """
    if not name or "'" in name or len(name) > MOST_NAME:
        raise ConfigError(f"{name!r} can't name a run or experiment: 1 to {MOST_NAME} characters without '.")


def check_model_name(name: str) -> None:
    """Refuses what can't name a registered model.

    Raises:
        ConfigError: models:/name@alias and models:/name/version couldn't tell it.
    """
    if not re.fullmatch(r"[^/:@]+", name):
        raise ConfigError(f"A registered model's name has no /, : or @; {name!r} can't be one.")


def find_run(client: Any, experiment: str, run_name: str) -> Any | None:
    """The oldest run of this name in the experiment named so, or None."""
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    runs = client.search_runs(
        [found.experiment_id],
        filter_string=f"tags.`{RUN_TAG}` = '{run_name}'",
        order_by=["attributes.start_time ASC"],
        max_results=1,
    )
    return runs[0] if runs else None


def open_run(
    client: Any, tracking_uri: str, experiment: str, run_name: str, details: RunDetails
) -> "MlflowRun":
    """Makes the run of this name, or takes it up again; parameters that differ by now become tags."""
    from mlflow.entities import Param, RunTag

    run = find_run(client, experiment, run_name)
    if run is None:
        run = client.create_run(
            experiment_id(client, tracking_uri, experiment),
            start_time=details.start_ms,
            run_name=run_name,
            tags={RUN_TAG: run_name},
        )
    elif run.info.status != "RUNNING":
        client.update_run(run.info.run_id, status="RUNNING")
    opened = MlflowRun(client, run.info.run_id)
    wanted = {key: _short(value, MAX_PARAM_LENGTH) for key, value in details.params.items()}
    known = run.data.params
    changed = {f"changed.{k}": v for k, v in wanted.items() if known.get(k, v) != v}
    tags = {k: _short(v, MAX_TAG_LENGTH) for k, v in {**details.tags, **changed}.items()}
    params = [Param(key, value) for key, value in wanted.items() if key not in known]
    for start in range(0, max(len(params), 1), MAX_PARAMS):
        client.log_batch(opened.run_id, params=params[start : start + MAX_PARAMS])
    for start in range(0, len(tags), MAX_PARAMS):
        some = list(tags.items())[start : start + MAX_PARAMS]
        client.log_batch(opened.run_id, tags=[RunTag(key, value) for key, value in some])
    opened.send_inputs(details.inputs)
    return opened


@dataclass(frozen=True, slots=True)
class MlflowRun:
    """A run to write to. Every method may be repeated; all of them raise what `MlflowClient` raises."""

    client: Any
    run_id: str

    def check_active(self) -> None:
        """Raises TrackingError where somebody deleted the run in the UI."""
        if self.client.get_run(self.run_id).info.lifecycle_stage != "active":
            raise TrackingError(f"run {self.run_id} was deleted in MLflow; restore it there")

    def send_points(self, points: Sequence[MetricPoint]) -> None:
        """At most 1,000 points. The server drops those that it has already."""
        from mlflow.entities import Metric

        self.client.log_batch(
            self.run_id, metrics=[Metric(p.key, p.value, p.timestamp_ms, p.step) for p in points]
        )

    def send_inputs(self, inputs: Sequence[DataInput]) -> None:
        """Data sets with their fingerprints."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entries = [
            DatasetInput(
                Dataset(
                    name=data.name,
                    digest=data.fingerprint[:MAX_DIGEST_LENGTH],
                    source_type="s3" if data.uri.startswith("s3://") else "local",
                    source=json.dumps({"uri": data.uri}),
                    profile=json.dumps({} if data.rows is None else {"num_rows": data.rows}),
                ),
                tags=[InputTag("mlflow.data.context", data.context)],
            )
            for data in inputs
        ]
        if entries:
            self.client.log_inputs(self.run_id, datasets=entries)

    def send_picture(self, key: str, step: int, png: bytes) -> None:
        """A picture of the slider named `key`, unless it has one at this step."""
        # MLflow writes the small copy last: where it is, the picture is whole.
        pattern = re.compile(
            re.escape(f"images/{key.replace('/', '~')}") + rf"\+step\+{step}\+.*\+compressed"
        )
        if not any(pattern.match(file.path) for file in self.client.list_artifacts(self.run_id, "images")):
            self.client.log_image(self.run_id, Image.open(io.BytesIO(png)), key=key, step=step)

    def send_text(self, path: str, text: str) -> None:
        """A text as an artifact."""
        self.client.log_text(self.run_id, text, path)

    def send_table(self, path: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Columns as an artifact (path.json) that the UI shows as a table; replaces an earlier one."""
        # MlflowClient.log_table would append to an earlier one. This is its format, and the tag it sets.
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        self.send_text(path, json.dumps({"columns": list(columns), "data": rows}))
        listed = json.loads(self.client.get_run(self.run_id).data.tags.get(TABLES_TAG, "[]"))
        entry = {"path": path, "type": "table"}
        if entry not in listed:
            self.client.set_tag(self.run_id, TABLES_TAG, json.dumps([*listed, entry]))

    def end(self, status: RunStatus) -> None:
        """The run is over."""
        self.client.set_terminated(self.run_id, status)


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested config as parameters: {"optimizer": {"kind": "adamw"}} is {"optimizer.kind": "adamw"}."""
    flat: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
