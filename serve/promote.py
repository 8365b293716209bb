"""Makes a release live: `python -m serve.promote release=ID`. Endpoints that run take it up within a second."""

import time
from typing import TYPE_CHECKING, Any

from data.storage import Folder
from serve.release import Registry, ReleaseError

if TYPE_CHECKING:
    from conf.schema import Config


def promote(registry: Registry, release_id: str | None) -> str:
    """Points the live pointer at a release (None: the newest) and returns its id.

    Raises:
        ReleaseError: there is no such release, or none at all.
    """
    if release_id is None:
        ids = registry.ids()
        if not ids:
            raise ReleaseError(f"{registry.folder}: no release to promote; run python -m serve.publish")
        release_id = ids[-1]
    return registry.promote(release_id).release


def task(config: "Config") -> dict[str, Any]:
    """Entry point."""
    started = time.perf_counter()
    registry = Registry.of(Folder.of(config.storage.root))
    before = registry.live()
    release_id = promote(registry, config.release)
    seconds = time.perf_counter() - started
    was = before.release if before else "nothing"
    print(f"promote: {release_id} is live (before: {was}), {seconds:.2f} s. Next: python -m serve.run")
    return {"release": release_id, "previous": before.release if before else None}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.promote")
