"""The requests against the training data: reported only, because a canary does not choose its requests."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from iris_operator.analysis.check import CheckResult, Totals, ValueCounts
from iris_operator.analysis.counts import Bin, Interval
from iris_operator.analysis.formatting import percent
from iris_operator.analysis.verdict import Verdict
from iris_operator.api.checks import FEATURE_DRIFT

NAME = FEATURE_DRIFT
_CONCENTRATION = 100.0
# A feature has moved when a bin's share differs by this much, with evidence that it is not by chance.
_MIN_DIFFERENCE = 0.1
_LOG_THRESHOLD = math.log(1000.0)
_MIN_SHARE = 1e-4
# Characters that the counts of all features take in the checkpoint: enough for about 40 features with ten bins.
MAX_SIZE = 4500
# Moved features that are named in the status.
_MAX_NAMED = 10


def add_values(before: Totals, interval: Interval, _step_changed: bool) -> Totals:
    """The values counted so far with one more interval, in the bins of the canary's training data.

    Stable's requests count where its bins are the same. A feature whose bins in the canary's training data have changed
    is counted anew. Where there is no room for all features those that are most unlike the training data stay, and the
    rest is counted from the newest interval.
    """
    of_canary = (interval.canary.features if interval.canary else None) or {}
    of_stable = (interval.stable.features if interval.stable else None) or {}
    after = dict(before.features)
    for name, bins in of_canary.items():
        stable = of_stable.get(name, {})
        same_bins = stable.keys() == bins.keys()
        more = tuple(bins[part] + (stable[part] if same_bins else 0) for part in sorted(bins))
        old = before.features.get(name, ())
        after[name] = tuple(map(sum, zip(old, more, strict=True))) if len(old) == len(more) else more
    return replace(before, features=_most_unlike(after, of_canary))


def report_features(totals: Totals, interval: Interval) -> CheckResult:
    """Compare the requests of both versions so far with the data that the canary's model was trained on.

    The evidence is F10's for many outcomes (Lindon & Malek 2022), with the training shares as the claimed ones. It is
    not the population stability index, which is noise with few requests.
    """
    values = {name: counts for name, counts in totals.features.items() if sum(counts) > 0}
    trained = (interval.canary.features if interval.canary else None) or {}
    if not trained:
        return _no_data("Prometheus has no training shares of the canary revision: the manifest of its model has none")
    features = [_compare(name, trained[name], values[name]) for name in sorted(trained) if name in values]
    if not features:
        return _no_data("no values yet")
    moved = [feature.text for feature in features if feature.moved]
    if moved:
        more = f"; and {len(moved) - _MAX_NAMED:,} further features" if len(moved) > _MAX_NAMED else ""
        return _report(f"unlike the training data: {'; '.join(moved[:_MAX_NAMED])}{more}")
    farthest = max(features, key=lambda feature: feature.difference)
    return _report(f"the requests look like the training data, the least so: {farthest.text}")


def _most_unlike(counts: ValueCounts, trained: Mapping[str, Mapping[Bin, int]]) -> ValueCounts:
    """The counts that fit into the checkpoint: all of them, or those of the features that differ most."""
    if sum(_size(name, each) for name, each in counts.items()) <= MAX_SIZE:
        return counts
    kept: dict[str, tuple[int, ...]] = {}
    left = MAX_SIZE
    known = sorted(trained.keys() & counts.keys())
    for name in sorted(known, key=lambda each: _distance(trained[each], counts[each]), reverse=True):
        left -= _size(name, counts[name])
        if left < 0:
            break
        kept[name] = counts[name]
    return {name: kept[name] for name in counts if name in kept}


def _size(name: str, counts: Sequence[int]) -> int:
    """Characters in the checkpoint, at most."""
    return len(json.dumps(name)) + 4 + sum(len(str(count)) + 1 for count in counts)


def _distance(trained: Iterable[Bin], counts: Sequence[int]) -> float:
    """The largest difference of a bin's share, in units of what chance makes of it."""
    total = sum(counts)
    shares = (part.training_share for part in sorted(trained))
    return max((abs(count - total * share) for count, share in zip(counts, shares, strict=True)), default=0.0) / (
        math.sqrt(total) or 1.0
    )


class _FeatureSummary(NamedTuple):
    """One feature of the requests: the largest difference of a bin's share, is it significant, and a sentence."""

    difference: float
    moved: bool
    text: str


def _compare(name: str, trained: Iterable[Bin], counts: Sequence[int]) -> _FeatureSummary:
    bins, total = sorted(trained), sum(counts)
    # None of them 0: a value is not impossible because the training data, which are few rows, do not have it.
    floored = [max(part.training_share, _MIN_SHARE) for part in bins]
    shares = [share / sum(floored) for share in floored]
    differences = [abs(count / total - share) for count, share in zip(counts, shares, strict=True)]
    at = differences.index(max(differences))
    now, then = percent(counts[at] / total), percent(bins[at].training_share)
    return _FeatureSummary(
        difference=differences[at],
        moved=differences[at] >= _MIN_DIFFERENCE and _log_evidence(counts, shares) >= _LOG_THRESHOLD,
        text=f"{name} has {now} of {total:,} values {_bin_label(bins, at)}, {then} in training",
    )


def _bin_label(bins: Sequence[Bin], at: int) -> str:
    if at == 0:
        return f"up to {bins[at].up_to:g}"
    if math.isinf(bins[at].up_to):
        return f"above {bins[at - 1].up_to:g}"
    return f"between {bins[at - 1].up_to:g} and {bins[at].up_to:g}"


def _report(text: str) -> CheckResult:
    return CheckResult(NAME, Verdict.PASS, f"{text} (reported, not judged)")


def _no_data(reason: str) -> CheckResult:
    return CheckResult(NAME, Verdict.NO_DATA, f"{reason} (reported, not judged)")


def _log_evidence(observed: Sequence[int], shares: Sequence[float]) -> float:
    log_e = math.lgamma(_CONCENTRATION) - math.lgamma(_CONCENTRATION + sum(observed))
    for count, share in zip(observed, shares, strict=True):
        prior = _CONCENTRATION * share
        log_e += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return log_e
