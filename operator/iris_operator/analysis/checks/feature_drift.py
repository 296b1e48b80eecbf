"""The traffic against the training data: reported, never blamed on the canary, which did not choose its requests."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.counts import Bin, Interval
from iris_operator.analysis.sentences import percent
from iris_operator.analysis.verdict import Verdict

NAME = "featureDrift"
_CONCENTRATION = 100.0
# Worth a sentence: a bin's share that differs by this much, and is no chance.
_TELLING = 0.1
_CERTAIN = math.log(1000.0)
_FLOOR = 1e-4

Values = Mapping[str, tuple[int, ...]]
"""How many values of each feature were in each bin, from the lowest to the highest."""


def add_values(before: Values, interval: Interval) -> Values:
    """What was counted so far with one more interval, in the bins of the canary's training data.

    Stable's requests count where its bins are the same. Where the canary's are others than before it starts anew.
    """
    of_canary = (interval.canary.features if interval.canary else None) or {}
    of_stable = (interval.stable.features if interval.stable else None) or {}
    after = dict(before)
    for name, bins in of_canary.items():
        beside = of_stable.get(name, {})
        same = beside.keys() == bins.keys()
        more = tuple(bins[part] + (beside[part] if same else 0) for part in sorted(bins))
        old = before.get(name, ())
        after[name] = tuple(map(sum, zip(old, more, strict=True))) if len(old) == len(more) else more
    return after


def report_features(values: Values, interval: Interval) -> CheckResult:
    """What the traffic so far, of both versions, looks like beside the data that the canary's model was trained on.

    The evidence is F10's for many outcomes (Lindon & Malek 2022), with the training shares as the claimed ones. It is
    not the population stability index, which is noise with few requests.
    """
    trained = (interval.canary.features if interval.canary else None) or {}
    if not trained:
        return _silent("Prometheus has no training shares of the canary revision: the manifest of its model has none")
    seen = [_beside(name, trained[name], values[name]) for name in sorted(trained) if sum(values[name]) > 0]
    if not seen:
        return _silent("no values yet")
    moved = [feature.words for feature in seen if feature.moved]
    if moved:
        return _report(f"unlike the training data: {'; '.join(moved)}")
    farthest = max(seen, key=lambda feature: feature.difference)
    return _report(f"the requests look like the training data, the least so: {farthest.words}")


class _Seen(NamedTuple):
    """One feature of the traffic: how far its farthest bin is off, whether that is no chance, and the words for it."""

    difference: float
    moved: bool
    words: str


def _beside(name: str, trained: Iterable[Bin], counts: Sequence[int]) -> _Seen:
    bins, total = sorted(trained), sum(counts)
    # None of them 0: nothing is impossible because a few rows of training have not shown it.
    floored = [max(part.training_share, _FLOOR) for part in bins]
    shares = [share / sum(floored) for share in floored]
    apart = [abs(count / total - share) for count, share in zip(counts, shares, strict=True)]
    at = apart.index(max(apart))
    now, then = percent(counts[at] / total), percent(bins[at].training_share)
    return _Seen(
        difference=apart[at],
        moved=apart[at] >= _TELLING and _log_evidence(counts, shares) >= _CERTAIN,
        words=f"{name} has {now} of {total:,} values {_place(bins, at)}, {then} in training",
    )


def _place(bins: Sequence[Bin], at: int) -> str:
    if at == 0:
        return f"up to {bins[at].up_to:g}"
    if math.isinf(bins[at].up_to):
        return f"above {bins[at - 1].up_to:g}"
    return f"between {bins[at - 1].up_to:g} and {bins[at].up_to:g}"


def _report(words: str) -> CheckResult:
    return CheckResult(NAME, Verdict.PASS, f"{words} (reported, not judged)")


def _silent(reason: str) -> CheckResult:
    return CheckResult(NAME, Verdict.NO_DATA, f"{reason} (reported, not judged)")


def _log_evidence(seen: Sequence[int], shares: Sequence[float]) -> float:
    log_e = math.lgamma(_CONCENTRATION) - math.lgamma(_CONCENTRATION + sum(seen))
    for count, share in zip(seen, shares, strict=True):
        prior = _CONCENTRATION * share
        log_e += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return log_e
