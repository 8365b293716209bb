"""Takes recalled items out of every answer at once: `python -m serve.withdraw items=[i00007] reason='recalled'`.

The items are on a denylist that holds for all releases, future ones included, until `restore=true` takes them off it.
Replicas leave the items out when they next read the live pointer, and the command returns when all of them do. A
replica that is cut off from the storage may go on answering with them and mark its answers as stale
(`serve.stale_pointer`): the command waits for it, then names it and ends with a status other than 0.

Examples:
    python -m serve.withdraw items=[i00007] reason='recalled'
    python -m serve.withdraw items=[i00007] restore=true
    python -m serve.withdraw
"""

import time
from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from serve.releases.release import ReleaseError
from serve.rollout.denylist import deny, read_denylist, restore, unknown_items

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Puts `items` on the denylist, or takes them off it with `restore`; lists the denylist if no items are given."""
    started = time.perf_counter()
    registry = ReleaseRegistry.of(Folder.of(config.storage.root))
    if not config.items:
        denylist = read_denylist(registry, registry.live())
        for item, entry in denylist.items():
            print(f"withdraw: {item} since {entry['since']}: {entry['reason']}")
        print(f"withdraw: {len(denylist)} items are on the denylist")
        return {"withdrawn": denylist}
    _check_ids(config, registry)
    if config.restore:
        rollout = restore(registry, config.items, config.serve.ready_within_s)
    elif config.reason is None:
        raise ConfigError("reason: null; the denylist records why items are on it; give reason='...'")
    else:
        rollout = deny(registry, config.items, config.reason, config.serve.ready_within_s)
    if rollout.may_answer:
        raise ReleaseError(_not_confirmed(config, rollout.may_answer))
    behind = f"; not yet confirmed by {', '.join(rollout.behind)}" if rollout.behind else ""
    outcome = "may be recommended again" if config.restore else "are in no answer any more"
    print(f"withdraw: {len(set(config.items))} items {outcome}, {time.perf_counter() - started:.2f} s{behind}")
    return {"withdrawn": read_denylist(registry, rollout.live)}


def _not_confirmed(config: "Config", may_answer: list[str]) -> str:
    """What to do where replicas have not confirmed that they leave the items out."""
    within = f"{config.serve.ready_within_s:g} s (serve.ready_within_s)"
    return (
        f"items: {', '.join(dict.fromkeys(config.items))}: are on the denylist, but {', '.join(may_answer)} may still"
        f" answer with them, marked stale, not having confirmed it within {within}. Stop what is cut off from the"
        " storage, run python -m serve.prune once it has stopped or died, and give this command again"
    )


def _check_ids(config: "Config", registry: ReleaseRegistry) -> None:
    """Raises ConfigError for ids that are probably mistyped, before anything changes."""
    if config.restore:
        denied = read_denylist(registry, registry.live())
        if unknown := sorted(set(config.items) - set(denied)):
            raise ConfigError(f"items: {', '.join(unknown)}: not on the denylist; nothing was restored")
    elif not config.force and (unknown := unknown_items(registry, config.items)):
        raise ConfigError(
            f"items: {', '.join(unknown)}: in no release; nothing was withdrawn. Mend the id, or pass force=true to"
            " keep it out of releases to come"
        )


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.withdraw")
