"""The replica watch: tells, over several looks at the heartbeats, which replicas are alive and which have died.

A replica whose process is gone is dead at once. Of one whose last heartbeat is stale a single look cannot tell: after a
jump of the clock, or after a time in which nobody could write to the storage, the heartbeats of all replicas are stale
until each has written its next one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from data.cluster.processes import is_this_host
from serve.rollout.heartbeats import (
    HEARTBEAT_INTERVAL_S,
    HEARTBEAT_TIMEOUT_S,
    FoundHeartbeat,
    Heartbeat,
    ReplicaRegistry,
)

CONFIRMED_AFTER_S = HEARTBEAT_INTERVAL_S + 3.0
"""Seconds in which a replica that lives has written its next heartbeat, if the storage takes it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at the heartbeats has found.

    Attributes:
        alive: the replicas that serve, or will serve once they have started, and those that may.
        lost: those whose heartbeat has been stale for long, while nothing says that their process is gone. They have
            died, or are cut off from the storage.
        gone: those whose process is gone.
        found: all heartbeats.
        at: the time by the storage's clock, in Unix seconds.
    """

    alive: list[Heartbeat]
    lost: list[Heartbeat]
    gone: list[Heartbeat]
    found: list[FoundHeartbeat]
    at: float

    @property
    def dead(self) -> list[Heartbeat]:
        """Those that count as dead."""
        return [*self.gone, *self.lost]

    def outlived(self, within_s: float) -> list[Heartbeat]:
        """The dead ones whose machine has outlived them, and that have written within the last `within_s` seconds.

        A machine that goes, as when a cluster is replaced, takes its replicas along, whatever they answer with, and so
        does one that is started again under its name. One has outlived a replica if it is this one, or if a replica on
        it, in the same namespace of processes, has written more than HEARTBEAT_TIMEOUT_S later.
        """
        written = {one.heartbeat.replica: one.written for one in self.found}
        latest: dict[tuple[str, str | None], float] = {}
        for one in self.found:
            machine = one.heartbeat.host, one.heartbeat.namespace
            latest[machine] = max(latest.get(machine, 0.0), one.written)

        def is_outlived(dead: Heartbeat) -> bool:
            is_heard_of = latest[dead.host, dead.namespace] - written[dead.replica] > HEARTBEAT_TIMEOUT_S
            return is_heard_of or is_this_host(dead.host, dead.namespace)

        return [each for each in self.dead if self.at - written[each.replica] <= within_s and is_outlived(each)]


class ReplicaWatch:
    """Looks at the heartbeats again and again.

    A replica with a stale heartbeat is lost if a look finds the same heartbeat at least CONFIRMED_AFTER_S after another
    look has found it stale, and if no look between the two has failed.
    """

    def __init__(self, replicas: ReplicaRegistry, renews_clock: bool = False) -> None:
        """Prepares to watch.

        Args:
            replicas: the heartbeats.
            renews_clock: whether each look asks the storage's clock anew, which fails where nobody can write. Otherwise
                the first look alone does.
        """
        self._replicas = replicas
        self._renews_clock = renews_clock
        self._clock: Callable[[], float] | None = None
        self._stale_since: dict[tuple[str, float], float] = {}

    def look(self) -> Look:
        """Reads all heartbeats."""
        before, self._stale_since = self._stale_since, {}  # where the reading fails, nothing is left to compare with
        if self._clock is None or self._renews_clock:
            self._clock = self._replicas.clock()
        looked_at = time.monotonic()
        heartbeats = self._replicas.read_all(at := self._clock())
        found, stale_since = Look([], [], [], heartbeats, at), {}
        for one in heartbeats:
            key = (one.heartbeat.replica, one.written)
            if one.heartbeat.is_gone:
                found.gone.append(one.heartbeat)
            elif not one.is_stale:
                found.alive.append(one.heartbeat)
            else:
                stale_since[key] = before.get(key, looked_at)
                is_lost = looked_at - stale_since[key] >= CONFIRMED_AFTER_S
                (found.lost if is_lost else found.alive).append(one.heartbeat)
        self._stale_since = stale_since
        return found

    @property
    def is_in_doubt(self) -> bool:
        """Whether the last look has found stale heartbeats, of which a later look may tell more."""
        return bool(self._stale_since)

    def forget(self) -> None:
        """Begins anew, as after a look that has failed."""
        self._stale_since = {}


def expire(replicas: ReplicaRegistry) -> None:
    """Removes the heartbeats of dead replicas; where there are stale ones, it waits for what a second look tells."""
    watch = ReplicaWatch(replicas)
    found = watch.look()
    if watch.is_in_doubt:
        time.sleep(CONFIRMED_AFTER_S)
        found = watch.look()
    for heartbeat in found.dead:
        replicas.remove(heartbeat.replica)
