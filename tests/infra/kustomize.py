"""As much of kustomize as infra/ uses, so that what it renders can be checked where the tool isn't."""

import copy
import re
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
FIELDS = {"apiVersion", "kind", "namespace", "resources", "components", "patches", "replacements"}
UNNAMESPACED = {"Namespace", "PriorityClass"}


def render(folder: Path) -> list[Object]:
    """What `kubectl kustomize FOLDER` prints, as objects."""
    return _apply(folder, [])


def _apply(folder: Path, objects: list[Object]) -> list[Object]:
    told = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert told.keys() <= FIELDS, f"{folder}: {told.keys() - FIELDS} isn't rendered here"
    for resource in told.get("resources", []):
        path = folder / resource
        objects += render(path) if path.is_dir() else list(yaml.safe_load_all(path.read_text()))
    for component in told.get("components", []):
        objects = _apply(folder / component, objects)
    for patch in told.get("patches", []):
        targets = [o for o in objects if _selected(o, patch["target"])]
        assert targets, f"{folder}: nothing to patch is {patch['target']}"
        for target in targets:
            _patch(target, yaml.safe_load(patch["patch"]))
    if "namespace" in told:
        for obj in objects:
            if obj["kind"] == "Namespace":
                obj["metadata"]["name"] = told["namespace"]
            elif obj["kind"] not in UNNAMESPACED:
                obj["metadata"]["namespace"] = told["namespace"]
    for replacement in told.get("replacements", []):
        _replace(objects, replacement)
    return objects


def _selected(obj: Object, select: Object) -> bool:
    return obj["kind"] == select["kind"] and select.get("name") in (None, obj["metadata"]["name"])


def _patch(target: Any, operations: list[Object]) -> None:
    for operation in operations:
        *parents, last = operation["path"].strip("/").split("/")
        node = target
        for step in parents:
            node = node[int(step)] if isinstance(node, list) else node[step]
        if operation["op"] == "replace":
            node[int(last) if isinstance(node, list) else last]  # must be there
        node[int(last) if isinstance(node, list) else last] = operation["value"]


def _replace(objects: list[Object], replacement: Object) -> None:
    source = replacement["source"]
    (found,) = (o for o in objects if _selected(o, source))
    (value,) = _get(found, _steps(source["fieldPath"]))
    for target in replacement["targets"]:
        selected = [o for o in objects if _selected(o, target["select"])]
        assert selected, f"nothing to fill in is {target['select']}"
        for obj in selected:
            for path in target["fieldPaths"]:
                *parents, last = _steps(path)
                for node in _get(obj, parents):
                    assert last in node, f"{obj['kind']} has no {path}"
                    node[last] = copy.deepcopy(value)


def _steps(path: str) -> list[str]:
    return [bracketed or plain for bracketed, plain in re.findall(r"\[([^]]+)\]|([^.\[\]]+)", path)]


def _get(node: Any, steps: list[str]) -> list[Any]:
    if not steps:
        return [node]
    first, *rest = steps
    inner = list(node) if first == "*" else [node[first]]
    return [found for child in inner for found in _get(child, rest)]
