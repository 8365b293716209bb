"""Makes a release live: `python -m serve.promote release=ID`; `percent=5` gives it 5 % of the users, as a canary.

Running endpoints answer without interruption: every replica loads the release first, then all of them answer with it.

Examples:
    python -m serve.promote release=ID
    python -m serve.promote release=ID percent=5
"""

import time
from typing import TYPE_CHECKING, Any

from conf.next_command import next_command
from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from serve.rollout.promotion import describe, ended_by, promote

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Verifies `release` (default: the newest), has all replicas load it, and gives it `percent` of the users."""
    started = time.perf_counter()
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    before = registry.live()
    rollout = promote(config.index, registry, config.release, config.serve.ready_within_s, percent=config.percent)
    live, seconds = rollout.live, time.perf_counter() - started
    if ended := ended_by(before, live):
        print(f"promote: {ended}")
    if live.experiment is not None:
        (canary,) = live.others
        print(
            f"promote: {canary} answers {config.percent:g} % of the users, {live.release} the others, {seconds:.1f} s"
        )
        print(f"  {describe(rollout)}")
        promoted = next_command("serve.promote", f"release={canary}")
        print(f"Next: {promoted}, or {next_command('serve.rollback')}")
    else:
        was = before.release if before else "nothing"
        print(f"promote: {live.release} is live (before: {was}), {seconds:.1f} s; {describe(rollout)}")
        back = f", or {next_command('serve.rollback')}" if before else ""
        print(f"Next: {next_command('serve.run')}{back}")
    return {"release": live.release, "previous": live.previous, "others": live.others, "replicas": rollout.replicas}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.promote")
