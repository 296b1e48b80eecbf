"""Does an object still match what is applied? Fields that others added do not count, unless they break service."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from iris_operator.api import names
from iris_operator.engine.ports import Json

_QUANTITY = re.compile(r"^([+-]?[0-9.]+)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|)$")
_FACTOR = {"": Decimal(1), "m": Decimal("0.001")} | {
    suffix: Decimal(base) ** power
    for power, letter in enumerate(("k", "M", "G", "T", "P", "E"), start=1)
    for suffix, base in ((letter, 1000), (("K" if letter == "k" else letter) + "i", 1024))
}
# Within these a further entry of somebody else is no addition: it selects other pods.
_EXACT = "selector"


def is_current(observed: Json | None, desired: Json) -> bool:
    """True when an apply of `desired` would change nothing: it is all there, and nothing that was taken out of it."""
    return observed is not None and matches(observed, desired) and not _has_leftovers(observed, desired)


def matches(observed: Any, desired: Any, *, quantities: bool = False) -> bool:
    """True when `observed` contains everything in `desired`.

    Lists of named things (containers, ports, variables) are matched by name, others by position and length.
    Inside `limits` and `requests` 0.5 and "500m" are the same. A selector has to be the same.
    """
    if observed == desired:  # the common case: nobody has changed it
        return True
    if isinstance(desired, Mapping):
        if not desired:
            return observed is None or isinstance(observed, Mapping)
        return isinstance(observed, Mapping) and all(
            observed.get(key) == value
            if key == _EXACT
            else matches(observed.get(key), value, quantities=quantities or key in ("limits", "requests"))
            for key, value in desired.items()
        )
    if isinstance(desired, Sequence) and not isinstance(desired, str):
        return isinstance(observed, Sequence) and _list_matches(observed, desired)
    return _quantity(observed) == _quantity(desired) if quantities else bool(observed == desired)


def _list_matches(observed: Sequence[Any], desired: Sequence[Any]) -> bool:
    if desired and all(isinstance(item, Mapping) and "name" in item for item in desired):
        by_name = {item.get("name"): item for item in observed if isinstance(item, Mapping)}
        return all(matches(by_name.get(item["name"]), item) for item in desired)
    return len(observed) == len(desired) and all(matches(a, b) for a, b in zip(observed, desired, strict=True))


def _quantity(value: Any) -> Any:
    match = _QUANTITY.match(str(value))
    return Decimal(match[1]) * _FACTOR[match[2]] if match else value


def _has_leftovers(observed: Json, desired: Json) -> bool:
    """Does the operator's field manager own a field by its last apply that is no longer in the manifest?

    An apply that leaves it out removes it, unless somebody else has set it, too; then it is theirs afterwards.
    """
    return any(
        _names_more(entry.get("fieldsV1") or {}, desired, observed)
        for entry in observed["metadata"].get("managedFields") or ()
        if (entry["manager"], entry["operation"]) == (names.FIELD_MANAGER, "Apply") and not entry.get("subresource")
    )


def _names_more(fields: Mapping[str, Any], desired: Any, observed: Any) -> bool:
    """Does a set of fields (`f:<field>`, `k:<keys of a list's item>`, `v:<value>`) name one that is there unwanted?"""
    for path, below in fields.items():
        kind, _, name = path.partition(":")
        if kind == "f":
            child, found = _field(desired, name), _field(observed, name)
        elif kind == "k":
            child, found = _item(desired, json.loads(name)), _item(observed, json.loads(name))
        elif kind == "v":
            child, found = _member(desired, json.loads(name)), _member(observed, json.loads(name))
        else:  # "." is the item itself
            continue
        if found is not None and (child is None or _names_more(below, child, found)):
            return True
    return False


def _field(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else None


def _member(items: Any, value: Any) -> Any:
    return value if isinstance(items, Sequence) and value in items else None


def _item(items: Any, keys: Mapping[str, Any]) -> Any:
    """The item with these keys; one that it leaves out has its default."""
    found = items if isinstance(items, Sequence) and not isinstance(items, str) else ()
    return next((item for item in found if all(item.get(key, value) == value for key, value in keys.items())), None)
