"""How often a key may ask: a token bucket for each key in each pod, corrected from time to time by what all pods used.

Between two corrections a pod acts on its own, so that no request waits for Redis. See settlement.py for what that means
for the limit over all pods.
"""

from typing import Final

# What a pod is told is never below this many buckets: should Redis hold nonsense, a key is not shut out for hours.
_DEEPEST_DEBT: Final = 64


class Allowance:
    """The bucket of one key: `burst` tokens at most, `rate` new ones a second, one for each request.

    Belongs to the event loop. `touched` collects the allowances that were used since they were last taken from it.
    """

    __slots__ = ("_at", "_tokens", "_touched", "burst", "key_id", "rate", "used")

    def __init__(self, key_id: str, rate: float, burst: int, touched: "list[Allowance]") -> None:
        self.key_id = key_id
        self.rate = rate
        self.burst = burst
        # Requests that were let through and of which the other pods have not heard.
        self.used = 0
        self._touched = touched
        self._tokens = float(burst)
        self._at = float("-inf")

    def take(self, now: float) -> float:
        """Let one request through, and return 0, or the seconds to wait until the next one is. `now` in seconds."""
        tokens = self._tokens + (now - self._at) * self.rate
        if tokens > self.burst:
            tokens = float(self.burst)
        self._at = now
        if tokens < 1.0:
            self._tokens = tokens
            return (1.0 - tokens) / self.rate
        self._tokens = tokens - 1.0
        if not self.used:
            self._touched.append(self)
        self.used += 1
        return 0.0

    def correct(self, tokens: float, now: float) -> None:
        """All pods together have left this many tokens; negative when they gave out more than there were."""
        # What was used while the answer was on its way is not in it yet.
        self._tokens = max(tokens, -_DEEPEST_DEBT * self.burst) - self.used
        self._at = now
