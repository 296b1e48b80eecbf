"""What checks of rare events share: events of the requests, as a multiple of stable's and as harm."""

from __future__ import annotations

import numpy as np

from iris_operator.analysis.check import Seen
from iris_operator.analysis.evidence.limit import information, kl
from iris_operator.analysis.look import State
from iris_operator.analysis.sentences import percent, share_of


def seen_ratio(state: State, words: str, things: str) -> Seen:
    """The counts in a `RareEvents` state in words."""
    x_c, n_c, x_s, n_s = counts_of(state)
    text = f"canary {words} {share_of(x_c, n_c, things)}, stable {share_of(x_s, n_s, things)}"
    return Seen(text, x_c / n_c if n_c else None, x_s / n_s if n_s else None, int(n_c))


def counts_of(state: State) -> tuple[float, float, float, float]:
    """Events and requests of the canary, events and requests of stable."""
    x_c, n_c, x_s, n_s = (float(state[name][0]) for name in ("xc", "nc", "xs", "ns"))
    return x_c, n_c, x_s, n_s


def gain_ratio(state: State, max_ratio: float, bound: float) -> float:
    """Nats a canary request, if it fails as often as those seen: against the tolerated harm or against the ratio."""
    x_c, n_c, x_s, n_s = counts_of(state)
    rate_c, rate_s = (x / n if n else 0.0 for x, n in ((x_c, n_c), (x_s, n_s)))
    by_bound = kl(rate_c, min(bound, 1 - 1e-9)) if rate_c < bound else 0.0
    if not n_c or not n_s or not x_c + x_s or rate_c >= max_ratio * rate_s:
        return by_bound
    share = n_c / (n_c + n_s)
    mine = x_c / (x_c + x_s)
    edge = share * max_ratio / (1 - share + share * max_ratio)
    return max(by_bound, (x_c + x_s) / n_c * kl(mine, edge))


def ratio_words(max_ratio: float) -> str:
    """What a rollback is evidence of."""
    times = max(1.0, max_ratio / 2)
    return "more than stable's" if times == 1.0 else f"more than {times:g}x stable's"


def bound_words(max_ratio: float, bound: float) -> str:
    """What going on is evidence of."""
    return f"below {percent(min(bound, 1.0))} or {max_ratio:g}x stable's"


def information_per_request(n_c: float, n_s: float, share: float, delta: float) -> float:
    """Nats that a canary request brings against a difference of `delta` when there is none."""
    if not n_c or not n_s:
        return 0.0
    safe = float(np.clip(share, 1e-3, 1 - 1e-3))
    if safe + delta >= 1.0:
        return kl(safe, 1 - 1e-9)
    return information(n_c, n_s, safe, safe, delta) / n_c
