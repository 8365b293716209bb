"""Waiting, in a rollout, for the replicas: until all have loaded a release, and until all follow the live pointer."""

import time
from collections.abc import Callable, Iterator, Sequence

from data.cluster.console import ProgressReporter
from serve.releases.pointer import LivePointer
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.heartbeats import Heartbeat, ReplicaRegistry, attempt_key
from serve.rollout.replica_watch import ReplicaWatch

POLL_INTERVAL_S = 0.05
"""Seconds between two readings of the heartbeats."""

LEASE_MARGIN_S = 0.5
"""Seconds to wait beyond a lease, because clocks run at different speeds."""


def poll_not_ready(watch: ReplicaWatch, releases: Sequence[str]) -> Iterator[list[Heartbeat]]:
    """Yields, every POLL_INTERVAL_S, the heartbeats of the replicas that do not hold all of these releases yet."""
    while True:
        yield [heartbeat for heartbeat in watch.look().alive if not set(releases) <= set(heartbeat.holds)]
        time.sleep(POLL_INTERVAL_S)


def wait_until_ready(
    watch: ReplicaWatch,
    releases: list[str],
    attempt: str,
    within_s: float,
    check_pointer: Callable[[], object],
    progress: ProgressReporter,
) -> list[Heartbeat]:
    """Waits until every replica that is alive holds the releases; returns the heartbeats.

    Args:
        attempt: the attempt that has staged the releases.
        within_s: seconds to wait.
        check_pointer: raises if the attempt has become pointless; it is called after each reading of the heartbeats.

    Raises:
        ReleaseError: a replica cannot load a release, or has not loaded it within `within_s`.
    """
    started, reported, names = time.monotonic(), 0, ", ".join(releases)
    for not_ready in poll_not_ready(watch, releases):
        _raise_if_refused(not_ready, releases, attempt)
        if not not_ready:
            break
        check_pointer()
        if time.monotonic() - started > within_s:
            raise ReleaseError(
                f"release {names}: not ready after {within_s:g} s in {', '.join(map(str, not_ready))}; nothing has"
                " changed. See their log, or raise serve.ready_within_s"
            )
        if len(not_ready) != reported:
            reported = len(not_ready)
            progress(f"promote: waiting for {reported} replica{'s' if reported != 1 else ''} to load {names}")
    return watch.look().alive


def _raise_if_refused(heartbeats: list[Heartbeat], releases: list[str], attempt: str) -> None:
    for heartbeat in heartbeats:
        for release_id in releases:
            if (reason := heartbeat.failed.get(attempt_key(release_id, attempt))) is not None:
                raise ReleaseError(f"release {release_id}: {heartbeat} refuses it: {reason}")


def wait_for_followers(watch: ReplicaWatch, live: LivePointer, within_s: float) -> list[Heartbeat]:
    """Waits until every replica confirms that it answers as the pointer says; returns those that have not.

    A replica that holds the releases and does not confirm is waited for until its lease is over, because after that it
    tries to read the pointer again before it answers; what it does where that fails is `Heartbeat.answers_stale`. A
    replica that lacks a release is waited for up to `within_s` seconds.
    """
    started, needed = time.monotonic(), {live.release, *live.others}
    while behind := [heartbeat for heartbeat in watch.look().alive if not heartbeat.follows(live)]:
        passed_s = time.monotonic() - started
        leases_s = max(heartbeat.lease_s for heartbeat in behind) + LEASE_MARGIN_S
        if passed_s > leases_s and (passed_s > within_s or all(needed <= set(h.holds) for h in behind)):
            break
        time.sleep(POLL_INTERVAL_S)
    return behind


def wait_for_denylist(registry: ReleaseRegistry, live: LivePointer, within_s: float) -> list[Heartbeat]:
    """Waits until every replica that may answer clients leaves out what is on the pointer's denylist, or a later one.

    Of a replica that writes no heartbeats any more it is not known whether it has died or is cut off from the storage.

    Returns:
        The last heartbeats of the replicas that have not confirmed it within `within_s` seconds. They may answer by an
        earlier denylist, because they answer clients although they cannot read the pointer.
    """
    watch, ends, sufficient = ReplicaWatch(ReplicaRegistry.of(registry.folder)), time.monotonic() + within_s, set()
    while True:
        latest = registry.live()
        sufficient |= {live.denylist, None if latest is None else latest.denylist}
        found = watch.look()
        may_answer = [
            heartbeat
            for heartbeat in (*found.alive, *found.lost)
            if heartbeat.answers_stale and heartbeat.denylist not in sufficient
        ]
        if not may_answer or time.monotonic() > ends:
            return may_answer
        time.sleep(POLL_INTERVAL_S)
