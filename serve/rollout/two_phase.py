"""Two-phase rollout: changes which releases have traffic while endpoints run, without an answer from a wrong release.

Phase one: the pointer names the new releases as staged, and every replica of every stage loads them while the old
release answers. Phase two: the pointer moves, and every replica follows it. These functions return when all replicas
have confirmed the new pointer. They wait for a replica that does not confirm until its lease is over, after which it
tries to read the pointer again before it answers. A request that begins after they have returned is therefore answered
as the new pointer says, with one exception: a replica that cannot read the pointer then, because it is cut off from the
storage, goes on by its last reading and marks its answers as stale, unless `serve.stale_pointer` is `refuse`.
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

from data.cluster.console import ProgressReporter
from serve.experiments.assignment import Experiment
from serve.releases.pointer import (
    LivePointer,
    PointerError,
    promoted,
    rolled_back,
    staging,
    unstaged,
    with_experiment,
)
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.heartbeats import Heartbeat, ReplicaRegistry
from serve.rollout.replica_watch import ReplicaWatch
from serve.rollout.waiting import poll_not_ready, wait_for_followers, wait_until_ready

ROLLBACK_WAIT_S = 2.0
"""Seconds that a rollback waits for replicas that do not hold the previous release; then the pointer moves anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutResult:
    """The outcome of a change of the live pointer.

    Attributes:
        live: the pointer after it.
        replicas: number of replicas that held the release when the pointer moved.
        memory_mib: memory of the new release in MiB, in the replica where it takes most.
        ready_s: seconds until all replicas had loaded it.
        followed_s: seconds from then on until all replicas answered with it.
        behind: names of the replicas that have not confirmed that they answer with it.
        may_answer: after a recall, names of the replicas of which it is not known that they leave the items out.
    """

    live: LivePointer
    replicas: int = 0
    memory_mib: float = 0.0
    ready_s: float = 0.0
    followed_s: float = 0.0
    behind: list[str] = field(default_factory=list)
    may_answer: list[str] = field(default_factory=list)


def roll_out(
    registry: ReleaseRegistry,
    release_id: str,
    within_s: float,
    progress: ProgressReporter = print,
    expected_live: str | None = None,
) -> RolloutResult:
    """Gives a release all of the traffic. Nothing changes if a replica cannot load it in time.

    Args:
        within_s: seconds that the replicas may take to load it.
        expected_live: if given, the rollout takes place only where this release is live, without an experiment.

    Raises:
        ReleaseError: the release does not exist; a replica refuses it, or has not loaded it within `within_s`; another
            process has changed the pointer meanwhile; or another release is live than `expected_live`.
    """
    registry.manifest(release_id)
    live = registry.live()
    if live is None or live.release == release_id:
        return wait_until_followed(registry, registry.promote(release_id), within_s)
    _require_live(live, expected_live)

    def change(live: LivePointer) -> LivePointer:
        return promoted(_require_live(live, expected_live), release_id)

    return _in_two_phases(registry, [release_id], change, within_s, progress)


def roll_out_shares(
    registry: ReleaseRegistry, experiment: Experiment, within_s: float, progress: ProgressReporter = print
) -> RolloutResult:
    """Gives the releases of an experiment their shares of the traffic.

    Raises:
        ReleaseError: as for `roll_out`.
        PointerError: no release is live, or the live release is among the shares.
    """
    for release_id in experiment.shares:
        registry.manifest(release_id)
    live = registry.live()
    if live is None or live.release in experiment.shares:
        raise PointerError(
            f"release {', '.join(experiment.shares)}: a share of the traffic is for others than the live release"
            f" ({live.release if live else 'there is none'}); run python -m serve.promote release=ID"
        )
    releases = list(experiment.shares)
    return _in_two_phases(registry, releases, lambda live: with_experiment(live, experiment), within_s, progress)


def roll_back(
    registry: ReleaseRegistry, within_s: float, reason: str | None = None, of: Experiment | None = None
) -> RolloutResult:
    """Ends an experiment or, where none runs, makes the previous release live again.

    A rollback is urgent: the pointer moves after `within_s` seconds even where a replica has not loaded the previous
    release. Such a replica loads it then.

    Args:
        of: if given, only this run of an experiment is ended; where it does not run any more, nothing changes.

    Raises:
        PointerError: no release is live, or none was live before; or the experiment `of` does not run any more.
    """
    target, started = rolled_back(registry.live(), of=of).release, time.perf_counter()
    watch = _watch(registry)
    if any(target not in heartbeat.holds for heartbeat in watch.look().alive):
        _stage(registry, [target])
        for not_ready in poll_not_ready(watch, [target]):
            if not not_ready or time.perf_counter() - started > within_s:
                break
    ready_s = time.perf_counter() - started
    return _followed(watch, registry.rollback(reason, of), watch.look().alive, ready_s, within_s)


def wait_until_followed(registry: ReleaseRegistry, live: LivePointer, within_s: float) -> RolloutResult:
    """Waits until every replica answers as the pointer says, after a change that needs no release to be loaded."""
    watch = _watch(registry)
    return _followed(watch, live, watch.look().alive, 0.0, within_s)


def _in_two_phases(
    registry: ReleaseRegistry,
    releases: list[str],
    change: Callable[[LivePointer], LivePointer],
    within_s: float,
    progress: ProgressReporter,
) -> RolloutResult:
    """Stages the releases, waits until all replicas hold them, and replaces the pointer by `change` of it."""
    started, attempt, watch = time.perf_counter(), _stage(registry, releases), _watch(registry)

    def check_pointer() -> None:
        _require_attempt(_require_some(registry.live()), releases, attempt)

    try:
        ready = wait_until_ready(watch, releases, attempt, within_s, check_pointer, progress)
        ready_s = time.perf_counter() - started
        live = registry.update_pointer(lambda now: change(_require_attempt(_require_some(now), releases, attempt)))
    except BaseException:  # also for Ctrl-C: the replicas must not go on loading releases that are no longer wanted
        registry.update_pointer(lambda now: unstaged(_require_some(now), attempt))
        raise
    return _followed(watch, live, ready, ready_s, within_s)


def _followed(
    watch: ReplicaWatch, live: LivePointer, ready: list[Heartbeat], ready_s: float, within_s: float
) -> RolloutResult:
    """Waits until the replicas follow the pointer; returns the result of the whole rollout."""
    started = time.monotonic()
    behind = wait_for_followers(watch, live, within_s)
    new, dead = live.others or [live.release], {heartbeat.replica for heartbeat in watch.look().dead}
    ready = [heartbeat for heartbeat in ready if heartbeat.replica not in dead]
    return RolloutResult(
        live=live,
        replicas=len(ready),
        memory_mib=max((heartbeat.holds.get(id_, 0.0) for heartbeat in ready for id_ in new), default=0.0),
        ready_s=ready_s,
        followed_s=time.monotonic() - started,
        behind=[str(heartbeat) for heartbeat in behind],
    )


def _watch(registry: ReleaseRegistry) -> ReplicaWatch:
    return ReplicaWatch(ReplicaRegistry.of(registry.folder))


def _stage(registry: ReleaseRegistry, releases: list[str]) -> str:
    """Asks the replicas to load releases; returns the name of the attempt."""
    live = registry.update_pointer(lambda now: staging(_require_some(now), releases, uuid.uuid4().hex))
    assert live.attempt is not None, "staged releases belong to an attempt"
    return live.attempt


def _require_some(live: LivePointer | None) -> LivePointer:
    """The pointer; raises ReleaseError where it was removed."""
    if live is None:
        raise ReleaseError("the live pointer was removed; run python -m serve.promote again")
    return live


def _require_live(live: LivePointer, expected: str | None) -> LivePointer:
    """The pointer; raises ReleaseError where another release is live than expected, or an experiment runs."""
    if expected is not None and (live.release != expected or live.experiment is not None):
        beside = f", with {', '.join(live.others)} on trial" if live.experiment is not None else ""
        raise ReleaseError(f"release {expected}: is not what is live alone (live: {live.release}{beside})")
    return live


def _require_attempt(live: LivePointer, releases: list[str], attempt: str) -> LivePointer:
    """The pointer; raises ReleaseError where another attempt has staged other releases meanwhile.

    Where the releases have traffic already, another process has completed the same rollout.
    """
    if live.attempt != attempt and not set(releases) <= {live.release, *live.others}:
        raise ReleaseError(
            f"release {', '.join(releases)}: somebody else has changed what is live meanwhile (live: {live.release},"
            f" asked for: {', '.join(live.staged) or 'nothing'}); run the command again if it is still wanted"
        )
    return live
