"""The traffic against the training data: reported, never blamed on the canary, which did not choose its requests."""

from __future__ import annotations

import math
from collections.abc import Mapping

from iris_operator.analysis.check import CheckResult
from iris_operator.analysis.sentences import percent
from iris_operator.analysis.verdict import Verdict

NAME = "featureDrift"
_CONCENTRATION = 100.0
# Worth a sentence: a bucket's share that differs by this much, and is no chance.
_TELLING = 0.1
_CERTAIN = math.log(1000.0)
_FLOOR = 1e-4


def report_features(
    traffic: Mapping[str, tuple[int, ...]], training: Mapping[str, tuple[float, ...]]
) -> CheckResult | None:
    """What the traffic so far, of both versions, looks like beside the training data; None without either.

    The evidence is F10's for many outcomes (Lindon & Malek 2022), with the training shares as the claimed ones. It is
    not the population stability index, which is noise with few requests.
    """
    told = [
        words for name in sorted(traffic) if name in training and (words := _told(name, traffic[name], training[name]))
    ]
    known = any(name in training and sum(traffic[name]) for name in traffic)
    if not known:
        return None
    reason = "; ".join(told) if told else "the requests look like the training data"
    return CheckResult(NAME, Verdict.PASS, f"{reason} (reported, not judged)")


def _told(name: str, seen: tuple[int, ...], trained: tuple[float, ...]) -> str:
    total, whole = sum(seen), sum(trained)
    if len(seen) != len(trained) or total <= 0 or whole <= 0:
        return ""
    shares = [max(share / whole, _FLOOR) for share in trained]
    shares = [share / sum(shares) for share in shares]
    moved = max(range(len(seen)), key=lambda at: abs(seen[at] / total - shares[at]))
    if abs(seen[moved] / total - shares[moved]) < _TELLING or _log_evidence(seen, shares) < _CERTAIN:
        return ""
    now, then = percent(seen[moved] / total), percent(shares[moved])
    return f"{name}: {now} of {total:,} values in bucket {moved + 1}, {then} in training"


def _log_evidence(seen: tuple[int, ...], shares: list[float]) -> float:
    log_e = math.lgamma(_CONCENTRATION) - math.lgamma(_CONCENTRATION + sum(seen))
    for count, share in zip(seen, shares, strict=True):
        prior = _CONCENTRATION * share
        log_e += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return log_e
