"""Does an object still match what was applied? Fields that others added do not count."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"^([+-]?[0-9.]+)(m|k|Ki|M|Mi|G|Gi|T|Ti|P|Pi|E|Ei|)$")
_FACTOR = {"": Decimal(1), "m": Decimal("0.001")} | {
    suffix: Decimal(base) ** power
    for power, letter in enumerate(("k", "M", "G", "T", "P", "E"), start=1)
    for suffix, base in ((letter, 1000), (("K" if letter == "k" else letter) + "i", 1024))
}


def matches(observed: Any, desired: Any, *, quantities: bool = False) -> bool:
    """True when `observed` contains everything in `desired`.

    Lists of named things (containers, ports, variables) are matched by name, others by position and length.
    Inside `limits` and `requests` 0.5 and "500m" are the same.
    """
    if observed == desired:  # the common case: nobody has changed it
        return True
    if isinstance(desired, Mapping):
        if not desired:
            return observed is None or isinstance(observed, Mapping)
        return isinstance(observed, Mapping) and all(
            matches(observed.get(key), value, quantities=quantities or key in ("limits", "requests"))
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
