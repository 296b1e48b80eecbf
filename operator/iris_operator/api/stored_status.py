"""A stored status read part by part: what cannot be read is named and kept, and the rest is used.

It may have been edited by hand, or stored by another version of the operator.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final

from pydantic import ValidationError
from pydantic.alias_generators import to_snake

from iris_operator.api.base import ApiModel
from iris_operator.api.status import ReleaseStatus

Path = tuple[str | int, ...]

ROOT: Final = "status"


class Part(Enum):
    """What the operator does without a part of the status."""

    DERIVED = "derived"
    """It is written anew in every reconcile."""
    OPTIONAL = "optional"
    """The release goes on without it."""
    DURABLE = "durable"
    """Nothing else says where the rollout stands: the release waits until it can be read."""


# A field that is not listed is derived.
_PARTS: Final[Mapping[str, Part]] = {
    "stable": Part.DURABLE,
    "canary": Part.DURABLE,
    "control": Part.DURABLE,
    "watch": Part.DURABLE,
    "rejected": Part.DURABLE,
    "rollout": Part.DURABLE,
    "step": Part.DURABLE,
    "history": Part.OPTIONAL,
    "analysis": Part.OPTIONAL,
}
_DERIVED_IN_ROLLOUT: Final = {"reason", "message"}


@dataclass(frozen=True)
class Unreadable:
    """A part that cannot be read: where it stands, what it holds, and the problem as a sentence for people."""

    path: Path
    value: Any
    problem: str
    part: Part


@dataclass(frozen=True)
class StoredStatus:
    """A status as it is stored, and as much of it as can be read."""

    raw: Mapping[str, Any] = field(default_factory=dict)
    status: ReleaseStatus = field(default_factory=ReleaseStatus)
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def blocking(self) -> tuple[str, ...]:
        """The problems for which the release waits, as sentences for people."""
        return tuple(each.problem for each in self.unreadable if each.part is Part.DURABLE)

    @property
    def ignored(self) -> tuple[str, ...]:
        """The problems with which the release goes on."""
        return tuple(each.problem for each in self.unreadable if each.part is Part.OPTIONAL)

    def updated(self, after: ReleaseStatus) -> dict[str, Any]:
        """The JSON to store for a next status: what cannot be read, and fields of a newer operator, stay as they are.

        A field of a newer operator goes with what it is about: another revision, or another stage.
        """
        written = after.to_json()
        _keep_unknown_fields(written, self.raw, self.status, after)
        for each in self.unreadable:
            if each.part is not Part.DERIVED:
                _put_back(written, each, self.status, after)
        return written


def read_status(raw: Any) -> StoredStatus:
    """The stored status; the empty one when there is none yet. Never raises."""
    if raw is None:
        return StoredStatus()
    if not isinstance(raw, Mapping):
        problem = f"{ROOT}: is {type(raw).__name__}, not an object"
        return StoredStatus({}, ReleaseStatus(), (Unreadable((), raw, problem, Part.DURABLE),))
    readable, found = copy.deepcopy(dict(raw)), list[Unreadable]()
    origins: dict[int, list[int]] = {}
    while True:
        try:
            return StoredStatus(raw, ReleaseStatus.model_validate(readable), tuple(found))
        except ValidationError as error:
            taken = 0
            # From the end, so that the positions of a list's entries stay right.
            for details in sorted(error.errors(), key=lambda each: _sort_key(each["loc"]), reverse=True):
                unit = _unit(details["loc"], missing=details["type"] == "missing")
                where = _take_out(readable, unit, origins)
                if where is not None:
                    taken += 1
                    shown = _text_of((*where, *details["loc"][len(unit) :]))
                    _add(found, Unreadable(where, _at(raw, where), f"{shown}: {details['msg']}", _part_of(where)))
            if not taken:
                whole = Unreadable((), raw, f"{ROOT}: {error.errors()[0]['msg']}", Part.DURABLE)
                return StoredStatus(raw, ReleaseStatus(), (whole,))


def _add(found: list[Unreadable], new: Unreadable) -> None:
    """Add what cannot be read; instead of its own parts, whose problem says more than that they are missing now."""
    inner = [each for each in found if each.path[: len(new.path)] == new.path]
    for each in inner:
        found.remove(each)
    found.append(replace(new, problem=inner[0].problem) if inner else new)


def _at(raw: Any, path: Path) -> Any:
    for step in path:
        raw = raw[step]
    return raw


def _unit(loc: Path, *, missing: bool) -> Path:
    """What is taken out for a problem: the value, the object that lacks a field, or the entry of a list."""
    unit = loc[:-1] if missing else loc
    entry = next((at for at, step in enumerate(unit) if isinstance(step, int)), None)
    return unit if entry is None else unit[: entry + 1]


def _take_out(within: dict[str, Any], path: Path, origins: dict[int, list[int]]) -> Path | None:
    """Remove the value, and return its path in the stored status; None when it is gone already."""
    container: Any = within
    shown: list[str | int] = []
    for step in path[:-1]:
        shown.append(_original(container, step, origins))
        try:
            container = container[step]
        except (KeyError, IndexError, TypeError):
            return None
    last = path[-1]
    shown.append(_original(container, last, origins))
    if isinstance(container, list) and isinstance(last, int) and last < len(container):
        origins[id(container)].pop(last)
        container.pop(last)
        return tuple(shown)
    if isinstance(container, dict) and last in container:
        del container[last]
        return tuple(shown)
    return None


def _original(container: Any, step: str | int, origins: dict[int, list[int]]) -> str | int:
    """The position of an entry before others were taken out."""
    if not isinstance(container, list) or not isinstance(step, int):
        return step
    positions = origins.setdefault(id(container), list(range(len(container))))
    return positions[step] if step < len(positions) else step


def _sort_key(loc: Path) -> tuple[tuple[int, str], ...]:
    return tuple((step, "") if isinstance(step, int) else (-1, step) for step in loc)


def _part_of(path: Path) -> Part:
    if path[0] == "rollout" and len(path) > 1 and path[1] in _DERIVED_IN_ROLLOUT:
        return Part.DERIVED
    return _PARTS.get(str(path[0]), Part.DERIVED)


def _text_of(path: Path) -> str:
    return ROOT + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def _put_back(written: dict[str, Any], each: Unreadable, before: ReleaseStatus, after: ReleaseStatus) -> None:
    if not each.path:
        return
    top = str(each.path[0])
    if top == "analysis" and after.analysis != before.analysis:
        return  # judged anew
    if top == "history":
        entries = written.setdefault("history", [])
        position = each.path[1] if len(each.path) > 1 else 0
        added = len(after.history) - len(before.history)
        if isinstance(position, int) and len(each.path) > 1:
            entries.insert(min(max(0, position + added), len(entries)), each.value)
        else:
            written["history"] = each.value
        return
    container = written
    for step in each.path[:-1]:
        container = container.setdefault(str(step), {})
    container[str(each.path[-1])] = each.value


def _keep_unknown_fields(
    written: dict[str, Any], raw: Mapping[str, Any], before: ReleaseStatus, after: ReleaseStatus
) -> None:
    _copy_unknown(written, raw, ReleaseStatus)
    for name in ReleaseStatus.model_fields:
        old, new = getattr(before, name), getattr(after, name)
        alias = _alias(ReleaseStatus, name)
        stored = raw.get(alias)
        if isinstance(new, ApiModel) and isinstance(stored, Mapping) and alias in written and _same(name, old, new):
            _copy_unknown(written[alias], stored, type(new))


def _same(name: str, old: Any, new: Any) -> bool:
    """Is it still about the same thing?"""
    if name == "rollout":
        return bool(old.stage == new.stage)
    if hasattr(new, "revision"):
        return bool(getattr(old, "revision", None) == new.revision)
    return bool(old == new)


def _copy_unknown(written: dict[str, Any], stored: Mapping[str, Any], model: type[ApiModel]) -> None:
    known = {_alias(model, name) for name in model.model_fields} | set(model.model_fields)
    for name, value in stored.items():
        if name not in known and to_snake(name) not in model.model_fields:
            written.setdefault(name, value)


def _alias(model: type[ApiModel], name: str) -> str:
    return model.model_fields[name].alias or name
