"""How often each caller may ask: recommendations in a time, and calls at the same time.

Rates are counted by `limits` (5.8) with a sliding window: what was counted in the last window weighs as far as it
overlaps the time since. (Its moving window keeps an entry for each call and takes ten times as long.)
"""

import asyncio
import math
import time
from collections import Counter
from functools import lru_cache

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from data.artifacts.secrets import secret
from data.cluster.failure_log import FailureLog
from serve.access.config import LimitsConfig
from serve.access.keys import Caller

PAUSE_S = 5.0
"""Seconds for which each replica counts for itself after Redis did not answer."""

log_failure = FailureLog("access")


class Exceeded(Exception):
    """A caller is beyond a limit.

    Attributes:
        retry_after_s: seconds after which it may ask again; None where the same call is beyond the limit at any time.
    """

    def __init__(self, detail: str, retry_after_s: float | None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class CallLimits:
    """The limits of all callers, as a replica keeps to them."""

    def __init__(self, config: LimitsConfig) -> None:
        self._config = config
        self._own = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._shared = None if config.counters.startswith("memory:") else _in_redis(config.counters)
        self._paused_until = 0.0
        self._running: Counter[str] = Counter()

    def enter(self, caller: Caller) -> None:
        """Begins a call; raises Exceeded if too many of the caller run. `leave` ends it."""
        most = caller.concurrency or self._config.concurrency
        if most is not None and self._running[caller.name] >= most:
            raise Exceeded(f"key {caller.name}: {most} calls at the same time; wait for an answer", 1)
        self._running[caller.name] += 1

    def leave(self, caller: Caller) -> None:
        """Ends a call that `enter` has begun."""
        self._running[caller.name] -= 1
        if not self._running[caller.name]:
            del self._running[caller.name]

    async def charge(self, caller: Caller, cost: int = 1, counted: int = 0) -> None:
        """Counts so many recommendations; raises Exceeded, and counts none of these, if they are too many.

        Args:
            caller: who asks for them.
            cost: how many.
            counted: how many of the same call are counted already.
        """
        rate = caller.rate or self._config.rate
        if rate is None or not cost:
            return
        item = _parsed(rate)
        if (total := cost + counted) > item.amount:
            raise Exceeded(f"key {caller.name}: {total} recommendations in one call, at most {rate}", None)
        limiter = self._limiter()
        try:
            async with asyncio.timeout(None if limiter is self._own else self._config.timeout_ms / 1000):
                is_within = await limiter.hit(item, caller.name, cost=cost)
        except (StorageError, OSError) as e:  # a TimeoutError is an OSError
            log_failure("Redis does not count calls; each replica counts for itself for a while", e)
            self._paused_until = time.monotonic() + PAUSE_S
            limiter = self._own
            is_within = await limiter.hit(item, caller.name, cost=cost)
        if not is_within:
            wait_s = await self._wait_s(limiter, item, caller)
            if total > 1:  # that is for one; a batch would be refused again, and each refusal counts as one
                wait_s = max(wait_s, math.ceil(total * item.get_expiry() / item.amount))
            raise Exceeded(f"key {caller.name}: more than {rate}; wait", wait_s)

    def _limiter(self) -> SlidingWindowCounterRateLimiter:
        return self._own if self._shared is None or time.monotonic() < self._paused_until else self._shared

    async def _wait_s(self, limiter: SlidingWindowCounterRateLimiter, item: RateLimitItem, caller: Caller) -> float:
        if limiter is not self._own:
            return 1  # another call to Redis would cost more than a try too many
        stats = await limiter.get_window_stats(item, caller.name)
        return min(max(1, math.ceil(stats.reset_time - time.time())), item.get_expiry())


@lru_cache(maxsize=1000)
def _parsed(rate: str) -> RateLimitItem:
    return parse(rate)


def _in_redis(uri: str) -> SlidingWindowCounterRateLimiter:
    password = {"password": found} if (found := secret("REDIS_PASSWORD")) else {}
    storage = RedisStorage(
        f"async+{uri}", wrap_exceptions=True, implementation="redispy", key_prefix="twotower", **password
    )
    return SlidingWindowCounterRateLimiter(storage)
