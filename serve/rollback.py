"""Returns to the release that was live before: `python -m serve.rollback`. A canary or an experiment ends instead.

A second rollback in a row changes nothing, and says so, also after the end of a canary, which the guard may have ended;
`serve.promote` goes further back. What others have made live since the command began is not rolled back: the
command then changes nothing, and says what is live. `reason='...'` is kept with the live pointer.

Examples:
    python -m serve.rollback
    python -m serve.rollback reason='fewer clicks'
"""

import time
from typing import TYPE_CHECKING, Any

from conf.next_command import next_command
from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from serve.rollout.promotion import describe
from serve.rollout.two_phase import ROLLBACK_WAIT_S, roll_back

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Ends the running experiment or, where none runs, makes the previous release live again."""
    started = time.perf_counter()
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    before = registry.live()
    rollout = roll_back(registry, ROLLBACK_WAIT_S, config.reason, decided_on=before)
    live, seconds = rollout.live, time.perf_counter() - started
    if before is not None and before.experiment is not None:
        print(f"rollback: {live.rolled_back} has no share any more, {live.release} answers all users, {seconds:.2f} s")
    elif before is not None and live.release == before.release:
        print(
            f"rollback: nothing has changed: {live.release} has been live since {live.promoted_at}, after a rollback of"
            f" {live.rolled_back}"
        )
        further = next_command("serve.promote", f"release={live.previous or 'ID'}")
        print(f"Next: if {live.release} is to go too, {further} ({next_command('serve.releases')} lists all)")
    else:
        print(f"rollback: {live.release} is live again, {live.rolled_back} is not, {seconds:.2f} s")
        print(f"  {describe(rollout)}")
        print(f"Next: {next_command('serve.verify', f'release={live.rolled_back}')}")
    return {"release": live.release, "rolled_back": live.rolled_back}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.rollback")
