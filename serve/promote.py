"""Makes a release live: `python -m serve.promote release=ID`; `percent=5` gives it 5 % of the users, as a canary.

Endpoints that run change over under traffic, all replicas at once.
"""

import time
from typing import TYPE_CHECKING, Any

from data.prepare import Say
from data.storage import Folder
from serve.experiment import Experiment
from serve.index import IndexConfig
from serve.pointer import now
from serve.release import Registry, ReleaseError
from serve.switch import Switched, share, switch
from serve.verify import verify

if TYPE_CHECKING:
    from conf.schema import Config


def promote(
    config: IndexConfig,
    registry: Registry,
    release_id: str | None,
    within_s: float,
    say: Say = print,
    percent: float = 100,
    instead_of: str | None = None,
) -> Switched:
    """Verifies a release (None: the newest), has all replicas make it ready, and gives it the traffic, or a part of it.

    Args:
        percent: of the users.
        instead_of: see serve.switch.

    Raises:
        ValueError: percent is not above 0 and at most 100.
        ReleaseError, NotSealed, CheckpointError: there is no such release, or it is not sound; nothing has changed.
        PointerError: a part is asked for, and nothing is live beside it.
        IndexUnavailable: its collection cannot be looked at.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"percent: {percent:g} must be above 0 and at most 100")
    if release_id is None:
        ids = registry.ids()
        if not ids:
            raise ReleaseError(f"{registry.folder}: no release to promote; run python -m serve.publish")
        release_id = ids[-1]
    verify(config, registry, release_id, say)
    if percent == 100:
        return switch(registry, release_id, within_s, say, instead_of)
    canary = Experiment(f"canary-{release_id}", {release_id: percent / 100}, now())
    return share(registry, canary, within_s, say)


def told(switched: Switched) -> str:
    """What a change of release did, for people."""
    if not switched.replicas and not switched.behind:
        return "no endpoint runs"
    behind = f"; {', '.join(switched.behind)} still load it" if switched.behind else ""
    return (
        f"{switched.replicas} replica{'s' if switched.replicas != 1 else ''} made it ready in {switched.ready_s:.1f} s"
        f" ({switched.mib:.0f} MiB each at most) and answer by it since {switched.moved_s:.1f} s later{behind}"
    )


def task(config: "Config") -> dict[str, Any]:
    """Entry point."""
    started = time.perf_counter()
    registry = Registry.of(Folder.of(config.storage.root))
    before = registry.live()
    switched = promote(config.index, registry, config.release, config.serve.ready_within_s, percent=config.percent)
    live, was = switched.live, before.release if before else "nothing"
    seconds = time.perf_counter() - started
    if live.experiment is not None:
        (canary,) = live.others
        print(
            f"promote: {canary} answers {config.percent:g} % of the users, {live.release} the others, {seconds:.1f} s"
        )
        print(f"  {told(switched)}")
        print(f"Next: python -m serve.promote release={canary}, or python -m serve.rollback")
    else:
        print(f"promote: {live.release} is live (before: {was}), {seconds:.1f} s; {told(switched)}")
        print("Next: python -m serve.run, or python -m serve.rollback" if before else "Next: python -m serve.run")
    return {"release": live.release, "previous": live.previous, "others": live.others, "replicas": switched.replicas}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.promote")
