"""Which releases a replica could not load, why, and when each may be tried again."""

import time
from dataclasses import dataclass

from serve.releases.pointer import LivePointer
from serve.rollout.heartbeats import attempt_key

RETRY_INTERVAL_S = 10.0
"""Seconds after which a release that could not be loaded is tried again. A staged release is tried only once."""


@dataclass(frozen=True, slots=True)
class FailedLoad:
    """The last time that a release could not be loaded.

    Attributes:
        attempt: the attempt of the pointer by which it was to be loaded (`LivePointer.attempt`).
        reason: why it could not.
        at: when that was, in seconds of the monotonic clock.
    """

    attempt: str | None
    reason: str
    at: float


class FailedLoads:
    """The failed loads of a replica: one for each release that the pointer names."""

    def __init__(self) -> None:
        self._by_release: dict[str, FailedLoad] = {}

    def add(self, release_id: str, live: LivePointer, reason: str) -> None:
        """Records that a release could not be loaded as this pointer asked; forgets those that it does not name."""
        self._by_release = {id_: self._by_release[id_] for id_ in self._by_release.keys() & live.to_hold()}
        self._by_release[release_id] = FailedLoad(live.attempt, reason, time.monotonic())

    def may_try(self, release_id: str, live: LivePointer) -> bool:
        """Whether a release may be loaded now, given when it last failed."""
        failed = self._by_release.get(release_id)
        if failed is None or failed.attempt != live.attempt:
            return True
        return release_id not in live.staged and time.monotonic() - failed.at > RETRY_INTERVAL_S

    def reasons(self) -> dict[str, str]:
        """Why each could not be loaded, by `attempt_key`."""
        return {attempt_key(id_, failed.attempt): failed.reason for id_, failed in self._by_release.items()}
