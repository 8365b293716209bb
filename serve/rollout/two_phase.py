"""Two-phase rollout: changes which releases have traffic while endpoints run, without an answer from a wrong release.

Phase one: the pointer names the new releases as staged, and every replica of every stage loads them while the old
release answers. Phase two: the pointer moves, and every replica follows it. These functions return when all replicas
have confirmed the new pointer. They wait for a replica that does not confirm until its lease is over, after which it
tries to read the pointer again before it answers. A request that begins after they have returned is therefore answered
as the new pointer says, with one exception: a replica that cannot read the pointer then, because it is cut off from the
storage, goes on by its last reading and marks its answers as stale, unless `serve.stale_pointer` is `refuse`.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from data.cluster.console import ProgressReporter
from serve.experiments.assignment import Experiment
from serve.releases.pointer import (
    LivePointer,
    PointerError,
    Traffic,
    experiment_ended,
    promoted,
    rolled_back,
    with_experiment,
)
from serve.releases.registry import ReleaseRegistry
from serve.rollout.attempts import require_attempt, require_some, require_traffic, say_if_damaged, staged
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
    expected_live: Traffic | str | None = None,
) -> RolloutResult:
    """Gives a release all of the traffic. Nothing changes if a replica cannot load it in time.

    Args:
        within_s: seconds that the replicas may take to load it.
        expected_live: if given, the rollout takes place only where the traffic is like this. A release id stands for
            that release alone, without an experiment.

    Raises:
        ReleaseError: the release does not exist; a replica refuses it, or has not loaded it within `within_s`; another
            process has changed the pointer meanwhile; or the traffic is not `expected_live`.
    """
    registry.manifest(release_id)

    def change(live: LivePointer | None) -> LivePointer:
        return promoted(require_traffic(live, expected_live), release_id)

    def change_at_once(live: LivePointer | None) -> LivePointer:
        return change(live) if live is None or live.release == release_id else live

    live = registry.live()
    if live is None or live.release == release_id:
        live = registry.update_pointer(change_at_once)
        if live.release == release_id:
            return wait_until_followed(registry, live, within_s)

    def is_done(live: LivePointer) -> bool:
        return Traffic.of(live) == Traffic(release_id)

    say_if_damaged(registry, live, progress)
    return _in_two_phases(registry, [release_id], change, is_done, within_s, progress)


def roll_out_shares(
    registry: ReleaseRegistry,
    experiment: Experiment,
    within_s: float,
    progress: ProgressReporter = print,
    expected_live: Traffic | str | None = None,
) -> RolloutResult:
    """Gives the releases of an experiment their shares of the traffic. An experiment that was running is over, unless
    it is the same.

    Args:
        within_s: seconds that the replicas may take to load them.
        expected_live: as for `roll_out`.

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

    def change(live: LivePointer) -> LivePointer:
        require_traffic(live, expected_live)
        return with_experiment(live, experiment)

    def is_done(live: LivePointer) -> bool:
        return experiment.is_like(live.experiment)

    say_if_damaged(registry, live, progress)
    return _in_two_phases(registry, list(experiment.shares), change, is_done, within_s, progress)


def end_experiment(registry: ReleaseRegistry, within_s: float) -> RolloutResult:
    """Ends the running experiment, if there is one: the live release, whichever it is by then, answers all users.

    Raises:
        ReleaseError: no release is live.
        PointerError: another experiment has begun meanwhile.
    """
    registry.resolve(None)  # raises where nothing is live
    running = Traffic.of(registry.live()).experiment
    ended = registry.update_pointer(lambda live: experiment_ended(require_some(live), running))
    return wait_until_followed(registry, ended, within_s)


def roll_back(
    registry: ReleaseRegistry,
    within_s: float,
    reason: str | None = None,
    of: Experiment | None = None,
    decided_on: LivePointer | None = None,
) -> RolloutResult:
    """Ends an experiment or, where none runs, makes the previous release live again.

    A rollback is urgent: the pointer moves after `within_s` seconds even where a replica has not loaded the previous
    release. Such a replica loads it then.

    Args:
        of: if given, only this run of an experiment is ended; where it does not run any more, nothing changes.
        decided_on: the pointer on which the rollback was decided; None means the present one. Where the traffic has
            changed since then, nothing changes, except that two who roll back the same succeed both.

    Raises:
        PointerError: no release is live, or none was live before; the experiment `of` does not run any more; or the
            traffic has changed.
    """
    decided_on = decided_on or registry.live()
    target, started = rolled_back(decided_on, of=of).release, time.perf_counter()
    watch, move = _watch(registry), partial(registry.rollback, reason, of, decided_on)
    alive = watch.look().alive
    if any(target not in heartbeat.holds for heartbeat in alive):
        with staged(registry, [target], lambda now: rolled_back(now, reason, of, decided_on), alive):
            for not_ready in poll_not_ready(watch, [target]):
                if not not_ready or time.perf_counter() - started > within_s:
                    break
            live = move()
    else:
        live = move()
    return _followed(watch, live, watch.look().alive, time.perf_counter() - started, within_s)


def wait_until_followed(registry: ReleaseRegistry, live: LivePointer, within_s: float) -> RolloutResult:
    """Waits until every replica answers as the pointer says, after a change that needs no release to be loaded."""
    watch = _watch(registry)
    return _followed(watch, live, watch.look().alive, 0.0, within_s)


def _in_two_phases(
    registry: ReleaseRegistry,
    releases: list[str],
    change: Callable[[LivePointer], LivePointer],
    is_done: Callable[[LivePointer], bool],
    within_s: float,
    progress: ProgressReporter,
) -> RolloutResult:
    """Stages the releases, waits until all replicas hold them, and replaces the pointer by `change` of it.

    Args:
        change: it raises where the pointer must stay as it is, and is called before anything is staged too.
        is_done: whether another process has completed the same rollout; the pointer then stays as it is.
    """
    started, watch = time.perf_counter(), _watch(registry)
    with staged(registry, releases, change, watch.look().alive) as attempt:

        def moved(now: LivePointer | None) -> LivePointer:
            now = require_some(now)
            if now.attempt != attempt and is_done(now):
                return now
            return change(require_attempt(now, releases, attempt))

        ready = wait_until_ready(watch, releases, attempt, within_s, lambda: moved(registry.live()), progress)
        ready_s = time.perf_counter() - started
        live = registry.update_pointer(moved)
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
