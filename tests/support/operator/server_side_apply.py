"""Server-side apply as the API server merges: fields of a manager, keyed lists, and what a later apply leaves out."""

from __future__ import annotations

import json
import marshal
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Object = dict[str, Any]
Path = tuple[str, ...]

# Lists whose items are merged by these fields; all other lists are replaced as a whole.
_LIST_KEYS: Mapping[str, tuple[str, ...]] = {
    "containers": ("name",),
    "env": ("name",),
    "volumes": ("name",),
    "imagePullSecrets": ("name",),
    "volumeMounts": ("mountPath",),
    "ownerReferences": ("uid",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "ports": ("port", "containerPort", "protocol"),
}
_ATOMIC = ("selector",)
_NOT_OWNED = ("apiVersion", "kind", "status")
_NOT_OWNED_METADATA = ("name", "namespace", "uid", "resourceVersion", "generation", "managedFields")


def applied(stored: Object | None, manifest: Mapping[str, Any], manager: str) -> Object:
    """The object after the manager has applied the manifest with force. Both arguments stay as they are."""
    merged: Object = _copy(stored or {"metadata": {}})
    entries = merged["metadata"].get("managedFields", [])
    own = _fields(_owned(manifest))
    kept = set(_leaves(own))
    before: Object = next((each["fieldsV1"] for each in entries if _is_of(each, manager)), {})
    others = [each for each in entries if not _is_of(each, manager)]
    claimed = {path for each in others for path in _leaves(each["fieldsV1"])}
    for path in [path for path in _leaves(before) if path not in kept | claimed]:
        _remove(merged, path)
    _merge(merged, manifest)
    merged["metadata"]["managedFields"] = [*others, {"manager": manager, "operation": "Apply", "fieldsV1": own}]
    return merged


def drop_from_others(item: Object, path: Path, manager: str) -> None:
    """No other manager owns the field any more; `path` as in `("f:spec", "f:replicas")`."""
    entries = item["metadata"].setdefault("managedFields", [])
    for entry in entries:
        if entry["manager"] != manager:
            _drop(entry["fieldsV1"], path)
    entries[:] = [entry for entry in entries if entry["fieldsV1"]]


def taken_by(item: Object, path: Path, manager: str) -> None:
    """From now on this manager alone owns the field, by an update."""
    drop_from_others(item, path, manager)
    fields: Object = {}
    for step in reversed(path):
        fields = {step: fields}
    item["metadata"]["managedFields"].append({"manager": manager, "operation": "Update", "fieldsV1": fields})


def merge_patched(value: Any, changes: Any) -> Any:
    """RFC 7386."""
    if not isinstance(changes, Mapping):
        return changes
    merged = dict(value) if isinstance(value, Mapping) else {}
    for name, change in changes.items():
        if change is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patched(merged.get(name), change)
    return merged


def _owned(manifest: Mapping[str, Any]) -> Object:
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in _NOT_OWNED_METADATA}
    return {**{name: value for name, value in manifest.items() if name not in _NOT_OWNED}, "metadata": metadata}


def _fields(value: Any, name: str = "") -> Object:
    if isinstance(value, Mapping) and name not in _ATOMIC:
        return {f"f:{key}": _fields(child, key) for key, child in value.items()}
    if name in _LIST_KEYS and isinstance(value, Sequence):
        return {f"k:{json.dumps(_keys(name, item))}": {".": {}, **_fields(item)} for item in value}
    return {}


def _keys(name: str, item: Mapping[str, Any]) -> Object:
    return {key: item[key] for key in _LIST_KEYS[name] if key in item}


def _leaves(fields: Mapping[str, Any], path: Path = ()) -> Iterator[Path]:
    if not fields and path:
        yield path
    for step, below in fields.items():
        yield from _leaves(below, (*path, step))


def _remove(item: Any, path: Path) -> None:
    step, *rest = path
    kind, _, name = step.partition(":")
    if kind == "f":
        if not isinstance(item, dict) or name not in item:
            return
        if not rest:
            del item[name]
        else:
            _remove(item[name], tuple(rest))
            if item[name] in ({}, []) and name != "emptyDir":
                del item[name]
    elif kind == "k":
        wanted = json.loads(name)
        found = [each for each in item if all(each.get(key) == value for key, value in wanted.items())]
        for each in found:
            if rest == ["."]:
                item.remove(each)
            elif rest:
                _remove(each, tuple(rest))


def _merge(into: Object, manifest: Mapping[str, Any]) -> None:
    for name, value in manifest.items():
        if isinstance(value, Mapping) and name not in _ATOMIC:
            child = into.setdefault(name, {})
            if child is None:
                child = into[name] = {}
            _merge(child, value)
        elif name in _LIST_KEYS:
            into[name] = _merged_list(name, into.get(name) or [], value)
        else:
            into[name] = _copy(value)


def _merged_list(name: str, stored: Sequence[Object], wanted: Sequence[Object]) -> list[Object]:
    merged = []
    for item in wanted:
        found = next((each for each in stored if _keys(name, each) == _keys(name, item)), {})
        both = _copy(found)
        _merge(both, item)
        merged.append(both)
    kept = [_keys(name, item) for item in wanted]
    return [*merged, *(_copy(each) for each in stored if _keys(name, each) not in kept)]


def _drop(fields: Object, path: Path) -> None:
    step, *rest = path
    if step not in fields:
        return
    if rest:
        _drop(fields[step], tuple(rest))
    if not rest or not fields[step]:
        del fields[step]


def _is_of(entry: Mapping[str, Any], manager: str) -> bool:
    return (entry["manager"], entry["operation"]) == (manager, "Apply")


def _copy(value: Any) -> Any:
    return marshal.loads(marshal.dumps(value))  # noqa: S302 - written by the same line
