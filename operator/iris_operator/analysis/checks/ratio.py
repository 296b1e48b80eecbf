"""What checks of rare events share: events of the requests, as a multiple of stable's and as harm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from iris_operator.analysis.check import Seen
from iris_operator.analysis.evidence.limit import information, kl
from iris_operator.analysis.look import Metric, Side, State
from iris_operator.analysis.metrics.rare import Events, RareEvents
from iris_operator.analysis.sentences import percent, share_of
from iris_operator.api.spec import RatioCheck


class FailureRatio:
    """F1 on failures of the requests to roll back, F7 to go on."""

    def __init__(self, settings: RatioCheck, events: Callable[[Side], Events | None], words: str) -> None:
        """`events` picks the failures, `words` name them in a sentence."""
        self._max_ratio, self._max_harm = settings.max_ratio, settings.max_harm
        self._events, self._words = events, words

    def metric(self) -> Metric:
        """See `Check.metric`."""
        return RareEvents(self._events, self._max_ratio, self._max_harm)

    def seen(self, state: State) -> Seen:
        """See `Check.seen`."""
        return seen_ratio(state, self._words, "requests")

    def gain(self, state: State, next_share: float) -> float:
        """See `Check.gain`."""
        return _gain(state, self._max_ratio, self._max_harm / next_share)

    @property
    def worse(self) -> str:
        """See `Check.worse`."""
        times = max(1.0, self._max_ratio / 2)
        return "more than stable's" if times == 1.0 else f"more than {times:g}x stable's"

    def good(self, next_share: float) -> str:
        """See `Check.good`."""
        return f"below {percent(min(self._max_harm / next_share, 1.0))} or {self._max_ratio:g}x stable's"


def seen_ratio(state: State, words: str, things: str) -> Seen:
    """The counts in a `RareEvents` state in words."""
    x_c, n_c, x_s, n_s = counts_of(state)
    text = f"canary {words} {share_of(x_c, n_c, things)}, stable {share_of(x_s, n_s, things)}"
    return Seen(text, x_c / n_c if n_c else None, x_s / n_s if n_s else None, int(n_c))


def counts_of(state: State) -> tuple[float, float, float, float]:
    """Events and requests of the canary, events and requests of stable."""
    x_c, n_c, x_s, n_s = (float(state[name][0]) for name in ("xc", "nc", "xs", "ns"))
    return x_c, n_c, x_s, n_s


def information_per_request(n_c: float, n_s: float, share: float, delta: float) -> float:
    """Nats that a canary request brings against a difference of `delta` when there is none."""
    if not n_c or not n_s:
        return 0.0
    safe = float(np.clip(share, 1e-3, 1 - 1e-3))
    if safe + delta >= 1.0:
        return kl(safe, 1 - 1e-9)
    return information(n_c, n_s, safe, safe, delta) / n_c


def _gain(state: State, max_ratio: float, bound: float) -> float:
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
