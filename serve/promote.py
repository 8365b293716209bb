"""Makes a release live: `python -m serve.promote release=ID`. Endpoints that run change over under traffic."""

import time
from typing import TYPE_CHECKING, Any

from data.prepare import Say
from data.storage import Folder
from serve.index import IndexConfig
from serve.release import Registry, ReleaseError
from serve.switch import Switched, switch
from serve.verify import verify

if TYPE_CHECKING:
    from conf.schema import Config


def promote(
    config: IndexConfig, registry: Registry, release_id: str | None, within_s: float, say: Say = print
) -> Switched:
    """Verifies a release (None: the newest), has all replicas make it ready, and makes it live.

    Raises:
        ReleaseError, NotSealed, CheckpointError: there is no such release, or it is not sound; nothing has changed.
        IndexUnavailable: its collection cannot be looked at.
    """
    if release_id is None:
        ids = registry.ids()
        if not ids:
            raise ReleaseError(f"{registry.folder}: no release to promote; run python -m serve.publish")
        release_id = ids[-1]
    verify(config, registry, release_id, say)
    return switch(registry, release_id, within_s, say)


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
    switched = promote(config.index, registry, config.release, config.serve.ready_within_s)
    live, was = switched.live, before.release if before else "nothing"
    print(f"promote: {live.release} is live (before: {was}), {time.perf_counter() - started:.1f} s; {told(switched)}")
    print("Next: python -m serve.run, or python -m serve.rollback" if before else "Next: python -m serve.run")
    return {"release": live.release, "previous": live.previous, "replicas": switched.replicas}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.promote")
