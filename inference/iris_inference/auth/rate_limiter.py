"""Rate limits: a token bucket per key in each pod, corrected regularly by the usage of all pods.

Between two corrections a pod decides on its own, so that no request waits for Redis. rate_limit_sync.py has the bound
that this gives for all pods together.
"""

from typing import Final

# Bounds the debt, in multiples of the burst: if Redis holds garbage, a key is not locked out for hours.
_MAX_DEBT_BUCKETS: Final = 64


class TokenBucket:
    """The token bucket of one key: at most `burst` tokens, `rate` new ones per second, one per request.

    Not thread-safe: use it in the event loop. It adds itself to `unsynced` on its first use after a synchronization.
    """

    __slots__ = ("_tokens", "_unsynced", "_updated_at", "burst", "key_id", "rate", "used")

    def __init__(self, key_id: str, rate: float, burst: int, unsynced: "list[TokenBucket]") -> None:
        self.key_id = key_id
        self.rate = rate
        self.burst = burst
        # Requests that were allowed and are not yet reported to the other pods.
        self.used = 0
        self._unsynced = unsynced
        self._tokens = float(burst)
        self._updated_at = float("-inf")

    def try_acquire(self, now: float) -> float:
        """Take a token for one request and return 0, or return the seconds until one is available. `now` in seconds."""
        tokens = self._tokens + (now - self._updated_at) * self.rate
        if tokens > self.burst:
            tokens = float(self.burst)
        self._updated_at = now
        if tokens < 1.0:
            self._tokens = tokens
            return (1.0 - tokens) / self.rate
        self._tokens = tokens - 1.0
        if not self.used:
            self._unsynced.append(self)
        self.used += 1
        return 0.0

    def correct(self, tokens: float, now: float) -> None:
        """Set the tokens that all pods together have left; negative when they allowed more than there were."""
        # Requests that were allowed while the reply was on its way are not included yet.
        self._tokens = max(tokens, -_MAX_DEBT_BUCKETS * self.burst) - self.used
        self._updated_at = now
