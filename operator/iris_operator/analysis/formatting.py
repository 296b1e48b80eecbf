"""Numbers formatted for people."""

from __future__ import annotations

import math

_MANY = math.log(1e6)
_LARGEST = math.log(1e9)
_TINY_SHARE = 0.0001


def percent(share: float) -> str:
    """`4.8 %`, `0.12 %`, `33 %`: two significant digits."""
    value = 100.0 * share
    if share <= 0.0:
        return "0 %"
    if share < _TINY_SHARE:
        return "under 0.01 %"
    digits = max(0, 1 - math.floor(math.log10(value)))
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") + " %" if digits else f"{value:.0f} %"


def share_of(events: float, total: float, unit: str) -> str:
    """`4.8 % of 1,204 requests`."""
    if total <= 0:
        return f"no {unit} yet"
    return f"{percent(events / total)} of {total:,.0f} {unit}"


def odds(log_value: float) -> str:
    """Evidence as odds: `310:1`."""
    if log_value > _MANY:
        return "over 1,000,000:1"
    value = math.exp(log_value)
    return f"{value:,.0f}:1" if value >= 10 else f"{value:.1f}:1"  # noqa: PLR2004 - one decimal below ten


def duration(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`; `seconds` is finite."""
    if seconds < 90:  # noqa: PLR2004 - a minute and a half
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"  # noqa: PLR2004 - an hour and a half


def milliseconds(seconds: float) -> str:
    """`25 ms`."""
    return f"{seconds * 1000:g} ms"


def capped_exp(log_value: float) -> float:
    """exp for a status field: an e-value that no float can hold is shown as 1e9, one of 0 as 0."""
    return round(math.exp(min(log_value, _LARGEST)), 4)
