"""The change from one release to another, under traffic, in two steps.

First every replica of every stage makes the new release ready, while the old one answers. Then the pointer moves, and
every replica follows. A request that begins after that is answered by the new release: a replica that has not said so
answers nothing by a pointer that it read longer ago than its lease.
"""

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from data.cluster.console import ProgressReporter
from serve.experiments.assignment import Experiment
from serve.releases.pointer import Live, PointerError, preparing, promoted, rolled_back, shared, withdrawn
from serve.releases.registry import Registry
from serve.releases.release import ReleaseError
from serve.rollout.heartbeats import Fleet, Note, attempted

LOOK_S = 0.05
"""Between two looks at the replicas' notes."""

BEFORE_S = 2.0
"""In a rollback, replicas that do not hold the release from before have so long to load it; then the pointer moves all
the same."""

MARGIN_S = 0.5
"""Beyond a lease, for clocks that run at different speeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """What a change of release did.

    Attributes:
        live: the pointer now.
        replicas: how many followed.
        mib: what the new release takes in the replica where it takes most.
        ready_s: until all replicas held it; moved_s: from then on until all answered by it.
        behind: replicas that have not said that they do.
    """

    live: Live
    replicas: int = 0
    mib: float = 0.0
    ready_s: float = 0.0
    moved_s: float = 0.0
    behind: list[str] = field(default_factory=list)


def switch(
    registry: Registry,
    release_id: str,
    within_s: float,
    progress: ProgressReporter = print,
    instead_of: str | None = None,
) -> Switched:
    """Makes a release live. Nothing changes where a replica cannot make it ready, or not in time.

    Args:
        instead_of: only where this one is live until then, and alone.

    Raises:
        ReleaseError: there is no such release; a replica refuses it, or has not made it ready within `within_s`; or
            somebody else has changed the pointer meanwhile.
    """
    registry.manifest(release_id)
    live = registry.live()
    if live is None or live.release == release_id:
        return followed(registry, registry.promote(release_id), within_s)
    _stands(live, instead_of)
    return _in_two_steps(
        registry, [release_id], lambda now: promoted(_stands(now, instead_of), release_id), within_s, progress
    )


def share(registry: Registry, experiment: Experiment, within_s: float, progress: ProgressReporter = print) -> Switched:
    """Gives other releases than the live one a share of the traffic, by the same two steps.

    Raises:
        ReleaseError: as for `switch`.
        PointerError: nothing is live, or the live release is among them.
    """
    for release_id in experiment.shares:
        registry.manifest(release_id)
    live = registry.live()
    if live is None or live.release in experiment.shares:
        raise PointerError(
            f"release {', '.join(experiment.shares)}: a share of the traffic is for others than the live release"
            f" ({live.release if live else 'there is none'}); run python -m serve.promote release=ID"
        )
    return _in_two_steps(registry, list(experiment.shares), lambda now: shared(now, experiment), within_s, progress)


def back(registry: Registry, within_s: float, reason: str | None = None) -> Switched:
    """Ends an experiment, or makes live what was live before.

    In time rather than with every replica ready: those that lack the release load it then.

    Raises:
        PointerError: nothing is live, or nothing was before.
    """
    goal, started = rolled_back(registry.live()), time.perf_counter()
    if any(goal.release not in note.holds for note in _living(registry)):
        _ask(registry, [goal.release])
        for waiting in _waiting(registry, [goal.release]):
            if not waiting or time.perf_counter() - started > within_s:
                break
    ready_s = time.perf_counter() - started
    return _followed(registry, registry.rollback(reason), _living(registry), ready_s, within_s)


def followed(registry: Registry, live: Live, within_s: float) -> Switched:
    """Waits until every replica answers by a pointer that needs nothing made ready."""
    return _followed(registry, live, _living(registry), 0.0, within_s)


def _in_two_steps(
    registry: Registry, releases: list[str], change: Callable[[Live], Live], within_s: float, progress: ProgressReporter
) -> Switched:
    started, attempt = time.perf_counter(), _ask(registry, releases)
    try:
        ready = _made_ready(registry, releases, attempt, within_s, progress)
        ready_s = time.perf_counter() - started
        after = registry.move(lambda now: change(_mine(_still(now), releases, attempt)))
    except BaseException:
        registry.move(lambda now: withdrawn(_still(now), attempt))
        raise
    return _followed(registry, after, ready, ready_s, within_s)


def _ask(registry: Registry, releases: list[str]) -> str:
    """Has the replicas make releases ready; returns the attempt's name."""
    live = registry.move(lambda now: preparing(_still(now), releases, uuid.uuid4().hex))
    assert live.attempt is not None, "candidates are somebody's attempt"
    return live.attempt


def _still(live: Live | None) -> Live:
    if live is None:
        raise ReleaseError("the live pointer was removed; run python -m serve.promote again")
    return live


def _stands(live: Live, wanted: str | None) -> Live:
    """The pointer as it is, unless another release is live than is wanted, or has company."""
    if wanted is not None and (live.release != wanted or live.experiment is not None):
        beside = f", with {', '.join(live.others)} on trial" if live.experiment is not None else ""
        raise ReleaseError(f"release {wanted}: is not what is live alone (live: {live.release}{beside})")
    return live


def _mine(live: Live, releases: list[str], attempt: str) -> Live:
    """The pointer as it is, unless somebody else has moved it elsewhere meanwhile."""
    done = [live.release, *live.others]
    if live.attempt != attempt and not set(releases) <= set(done):
        raise ReleaseError(
            f"release {', '.join(releases)}: somebody else has changed what is live meanwhile (live: {live.release},"
            f" asked for: {', '.join(live.candidates) or 'nothing'}); run it again if this shall be"
        )
    return live


def _living(registry: Registry) -> list[Note]:
    fleet = Fleet.of(registry.folder)
    return fleet.living(fleet.clock())


def _waiting(registry: Registry, releases: Sequence[str]) -> Iterator[list[Note]]:
    """The replicas that do not hold these releases yet, again and again."""
    fleet = Fleet.of(registry.folder)
    clock: Callable[[], float] = fleet.clock()
    while True:
        yield [note for note in fleet.living(clock) if not set(releases) <= set(note.holds)]
        time.sleep(LOOK_S)


def _made_ready(
    registry: Registry, releases: list[str], attempt: str, within_s: float, progress: ProgressReporter
) -> list[Note]:
    """Waits until every living replica holds the releases; returns their notes."""
    started, said, names = time.monotonic(), 0, ", ".join(releases)
    for waiting in _waiting(registry, releases):
        for note in waiting:
            for release_id in releases:
                if (reason := note.failed.get(attempted(release_id, attempt))) is not None:
                    raise ReleaseError(f"release {release_id}: {note} refuses it: {reason}")
        if not waiting:
            break
        _mine(_still(registry.live()), releases, attempt)
        if time.monotonic() - started > within_s:
            raise ReleaseError(
                f"release {names}: not ready after {within_s:g} s in {', '.join(map(str, waiting))}; nothing has"
                " changed. See their log, or raise serve.ready_within_s"
            )
        if len(waiting) != said:
            said = len(waiting)
            progress(f"promote: {said} replica{'s' if said != 1 else ''} still to make {names} ready")
    return _living(registry)


def _followed(registry: Registry, live: Live, ready: list[Note], ready_s: float, within_s: float) -> Switched:
    """Waits until every replica answers by the pointer.

    One that holds what it takes and does not say so has let its lease pass before long; one that lacks it is waited for
    as long as the operator would.
    """
    started, wanted = time.monotonic(), {live.release, *live.others}
    fleet = Fleet.of(registry.folder)
    clock = fleet.clock()
    while behind := [note for note in fleet.living(clock) if not note.follows(live)]:
        passed_s = time.monotonic() - started
        leases_s = max(note.lease_s for note in behind) + MARGIN_S
        if passed_s > leases_s and (passed_s > within_s or all(wanted <= set(note.holds) for note in behind)):
            break
        time.sleep(LOOK_S)
    new = live.others or [live.release]
    return Switched(
        live=live,
        replicas=len(ready),
        mib=max((note.holds.get(release_id, 0.0) for note in ready for release_id in new), default=0.0),
        ready_s=ready_s,
        moved_s=time.monotonic() - started,
        behind=[str(note) for note in behind],
    )
