"""Ray Train's list of a run's checkpoints, mended where it isn't what lies there.

Ray (2.60) gives a run up where a folder of its list is missing, so that nobody could delete a damaged
checkpoint, and where the list itself is cut short: on disks it is written in place, and the machine may die.
"""

import json
import logging
import math
from collections.abc import Sequence
from typing import Any

import torch
from ray import __version__ as ray_version

from crnn.checkpoint import Bundle
from crnn.errors import BundleError
from pipeline.errors import CheckpointError, ObjectNotFoundError
from pipeline.resume import BUNDLE, HARDEST_SHEET, HARDEST_TABLE, STATE, read
from pipeline.runs import SNAPSHOT, CheckpointFiles
from pipeline.storage import exists, join, list_objects, local_copy, read_bytes, write_atomic
from pipeline.tracking import MetricPoint

log = logging.getLogger(__name__)


def mend_snapshot(run_uri: str, score: str) -> None:
    """Makes the list name the checkpoints that are there, the last one as the one to go on from.

    Args:
        run_uri: The run's folder; nothing happens where it has no list yet.
        score: The metric by which checkpoints are ordered.
    """
    uri = join(run_uri, SNAPSHOT)
    if not exists(uri):
        return
    try:
        found = json.loads(read_bytes(uri))
        listed = {result["checkpoint_dir_name"]: result for result in found["checkpoint_results"]}
    except (ValueError, KeyError, TypeError):
        found, listed = None, {}
    names = sorted(n for n in _folders(run_uri) if exists(join(run_uri, n, STATE)))
    if found is None:
        names = [name for name in names if _is_whole(join(run_uri, name))]
    else:
        names = [name for name in names if name in listed]
        if len(names) == len(listed):
            return
    results = [listed.get(name) or _result(run_uri, name) for name in names]
    latest = results[-1] if results else None
    log.warning(
        "%s doesn't list what is there; it is written anew with %d checkpoints: %s.",
        uri,
        len(names),
        ", ".join(names) or "the run starts over",
    )
    results.sort(key=lambda r: r["metrics"].get(score, -math.inf))
    mended = {
        "ray_version": ray_version,
        "checkpoint_results": results,
        "checkpoint_report_indices": [names.index(result["checkpoint_dir_name"]) for result in results],
        "latest_checkpoint_result": latest,
        "pending_training_results": [],
        "pending_validation_specs": [],
        "current_report_index": len(results),
        "validated_checkpoint_dir_names": [],
        "timed_out_validation_checkpoint_dir_names": [],
        "failed_validation_checkpoint_dir_names": [],
    }
    write_atomic(uri, json.dumps(mended).encode())


def _is_whole(uri: str) -> bool:
    """Whether a checkpoint that no list vouches for can be gone on from: its upload may have been cut off."""
    try:
        with local_copy(uri + "/") as directory:
            read(directory, torch.device("cpu"))
            Bundle.load(directory / BUNDLE)
            if len({(directory / name).exists() for name in (HARDEST_TABLE, HARDEST_SHEET)}) > 1:
                raise ObjectNotFoundError(f"{HARDEST_TABLE} and {HARDEST_SHEET} aren't both there")
    except (CheckpointError, BundleError, ObjectNotFoundError) as error:
        log.warning("%s is not whole, and left where it is: %s", uri, error.__cause__ or error)
        return False
    return True


def _folders(run_uri: str) -> set[str]:
    """Names of the checkpoints' folders; the list itself, a file, is named much like them."""
    tops = (item.key.partition("/") for item in list_objects(run_uri))
    return {top for top, slash, _ in tops if slash and top.startswith("checkpoint_")}


def _result(run_uri: str, name: str) -> dict[str, Any]:
    """What Ray notes of a checkpoint, from the checkpoint's own history."""
    points = CheckpointFiles.at(join(run_uri, name)).history()
    step = max((p.step for p in points), default=0)
    values = {p.key: p.value for p in points if p.step == step}
    metrics = {key: value for key, value in values.items() if key.startswith("validation/")}
    metrics |= {
        "step": step,
        "images_seen": values.get("train/images_seen", 0),
        "images_per_s": _rate(points),
    }
    return {"version": 0, "checkpoint_dir_name": name, "metrics": metrics}


def _rate(points: Sequence[MetricPoint]) -> float:
    """Images a second of the whole run, from the rates of its parts."""
    rates = {p.step: p.value for p in points if p.key == "train/images_per_s"}
    seconds, before = 0.0, 0.0
    for seen in (p for p in points if p.key == "train/images_seen" and rates.get(p.step)):
        seconds, before = seconds + (seen.value - before) / rates[seen.step], seen.value
    return before / seconds if seconds else 0.0
