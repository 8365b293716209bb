"""The change from one release to another, under traffic, in two steps.

First every replica of every stage makes the new release ready, while the old one answers. Then the pointer moves, and
every replica follows. A request that begins after that is answered by the new release: a replica that has not said so
answers nothing by a pointer that it read longer ago than its lease.
"""

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from data.prepare import Say
from serve.fleet import Fleet, Note, attempted
from serve.pointer import Live, preparing, promoted, rolled_back, withdrawn
from serve.release import Registry, ReleaseError

LOOK_S = 0.05
"""Between two looks at the replicas' notes."""

MARGIN_S = 0.5
"""Beyond a lease, for clocks that run at different speeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Switched:
    """What a change of release did.

    Attributes:
        live: the pointer now.
        replicas: how many followed.
        mib: what the release takes in the replica where it takes most.
        ready_s: until all replicas held it; moved_s: from then on until all answered by it.
        behind: replicas that have not said that they do.
    """

    live: Live
    replicas: int = 0
    mib: float = 0.0
    ready_s: float = 0.0
    moved_s: float = 0.0
    behind: list[str] = field(default_factory=list)


def switch(registry: Registry, release_id: str, within_s: float, say: Say = print) -> Switched:
    """Makes a release live. Nothing changes where a replica cannot make it ready, or not in time.

    Raises:
        ReleaseError: there is no such release; a replica refuses it, or has not made it ready within `within_s`; or
            somebody else has changed the pointer meanwhile.
    """
    registry.manifest(release_id)
    live = registry.live()
    if live is not None and live.release == release_id:
        return Switched(live=registry.promote(release_id))
    if live is None:
        return Switched(live=registry.promote(release_id))
    started, attempt = time.perf_counter(), _ask(registry, release_id)
    try:
        ready = _made_ready(registry, release_id, attempt, within_s, say)
        ready_s = time.perf_counter() - started
        after = registry.move(lambda now: _moved(_still(now), release_id, attempt))
    except BaseException:
        registry.move(lambda now: withdrawn(_still(now), attempt))
        raise
    return _followed(registry, after, ready, ready_s, within_s)


def back(registry: Registry, within_s: float) -> Switched:
    """Makes live what was live before; in time rather than with every replica ready: those that lack it load it then.

    Raises:
        PointerError: nothing is live, or nothing was before.
    """
    live = registry.live()
    goal = rolled_back(live)
    if live is None or goal.release == live.release:
        return Switched(live=registry.rollback())
    started = time.perf_counter()
    if any(goal.release not in note.holds for note in _living(registry)):
        _ask(registry, goal.release)
        for waiting in _waiting(registry, goal.release):
            if not waiting or time.perf_counter() - started > within_s:
                break
    ready_s = time.perf_counter() - started
    return _followed(registry, registry.rollback(), _living(registry), ready_s, within_s)


def _ask(registry: Registry, release_id: str) -> str:
    """Has the replicas make a release ready; returns the attempt's name."""
    live = registry.move(lambda now: preparing(_still(now), release_id, uuid.uuid4().hex))
    assert live.attempt is not None, "a candidate is somebody's attempt"
    return live.attempt


def _still(live: Live | None) -> Live:
    if live is None:
        raise ReleaseError("the live pointer was removed; run python -m serve.promote again")
    return live


def _moved(live: Live, release_id: str, attempt: str) -> Live:
    """The pointer at the release, unless somebody else has moved it elsewhere meanwhile."""
    if live.attempt != attempt and live.release != release_id:
        raise ReleaseError(
            f"release {release_id}: somebody else has changed what is live meanwhile (live: {live.release}, asked for:"
            f" {live.candidate or 'nothing'}); run it again if this one shall be"
        )
    return promoted(live, release_id)


def _living(registry: Registry) -> list[Note]:
    fleet = Fleet.of(registry.folder)
    return fleet.living(fleet.clock())


def _waiting(registry: Registry, release_id: str) -> Iterator[list[Note]]:
    """The replicas that do not hold a release yet, again and again."""
    fleet = Fleet.of(registry.folder)
    clock: Callable[[], float] = fleet.clock()
    while True:
        yield [note for note in fleet.living(clock) if release_id not in note.holds]
        time.sleep(LOOK_S)


def _made_ready(registry: Registry, release_id: str, attempt: str, within_s: float, say: Say) -> list[Note]:
    """Waits until every living replica holds a release; returns their notes."""
    started, said = time.monotonic(), 0
    for waiting in _waiting(registry, release_id):
        for note in waiting:
            if (reason := note.failed.get(attempted(release_id, attempt))) is not None:
                raise ReleaseError(f"release {release_id}: {note} refuses it: {reason}")
        if not waiting:
            break
        _moved(_still(registry.live()), release_id, attempt)
        if time.monotonic() - started > within_s:
            names = ", ".join(str(note) for note in waiting)
            raise ReleaseError(
                f"release {release_id}: not ready after {within_s:g} s in {names}; nothing has changed. See their log,"
                " or raise serve.ready_within_s"
            )
        if len(waiting) != said:
            said = len(waiting)
            say(f"promote: {said} replica{'s' if said != 1 else ''} still to make {release_id} ready")
    return _living(registry)


def _followed(registry: Registry, live: Live, ready: list[Note], ready_s: float, within_s: float) -> Switched:
    """Waits until every replica answers by the release.

    One that holds it and does not say so has let its lease pass before long; one that lacks it is waited for as long as
    the operator would.
    """
    started = time.monotonic()
    fleet = Fleet.of(registry.folder)
    clock = fleet.clock()
    while behind := [note for note in fleet.living(clock) if note.current != live.release]:
        passed_s = time.monotonic() - started
        leases_s = max(note.lease_s for note in behind) + MARGIN_S
        if passed_s > leases_s and (passed_s > within_s or all(live.release in note.holds for note in behind)):
            break
        time.sleep(LOOK_S)
    return Switched(
        live=live,
        replicas=len(ready),
        mib=max((note.holds.get(live.release, 0.0) for note in ready), default=0.0),
        ready_s=ready_s,
        moved_s=time.monotonic() - started,
        behind=[str(note) for note in behind],
    )
