"""Takes items out of every answer at once: `python -m serve.withdraw items=[i00007] reason='recalled'`.

It holds for all releases, those to come too, until `restore=true` ends it. Replicas leave the items out by their next
look at the pointer, and the command returns when all of them do.
"""

import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from data.storage import Folder
from serve.pointer import Live, now
from serve.release import WITHDRAWN, Registry, ReleaseError
from serve.switch import Switched, followed

if TYPE_CHECKING:
    from conf.schema import Config

MOST = 1_000
"""Items that may be withdrawn at a time; to be rid of more, publish a release without them."""


def withdraw(registry: Registry, items: Iterable[str], reason: str, within_s: float) -> Switched:
    """Adds items to the list.

    Raises:
        ReleaseError: nothing is live.
        ValueError: the list would be too long.
    """
    told = {"reason": reason, "since": now()}
    return _changed(registry, lambda listed: listed | {item: told for item in items if item not in listed}, within_s)


def restore(registry: Registry, items: Iterable[str], within_s: float) -> Switched:
    """Takes items off the list."""
    gone = set(items)
    return _changed(registry, lambda listed: {i: told for i, told in listed.items() if i not in gone}, within_s)


def listed(registry: Registry, live: Live | None) -> dict[str, Any]:
    """Reason and time by withdrawn item."""
    if live is None or live.withdrawn is None:
        return {}
    found: dict[str, Any] = registry.folder.read_json(f"{WITHDRAWN}/{live.withdrawn}")
    return found


def _changed(registry: Registry, change: Any, within_s: float) -> Switched:
    def move(live: Live | None) -> Live:
        if live is None:
            raise ReleaseError("no release is live: there is nothing to withdraw from")
        before = listed(registry, live)
        after = change(before)
        if len(after) > MOST:
            raise ValueError(f"items: {len(after)} would be withdrawn, {MOST} at most; publish a release without them")
        if after == before:
            return live
        name = f"{uuid.uuid4().hex}.json"
        registry.folder.write_json(f"{WITHDRAWN}/{name}", after)
        return replace(live, withdrawn=name)

    return followed(registry, registry.move(move), within_s)


def task(config: "Config") -> dict[str, Any]:
    """Entry point: withdraws `items`, or with `restore` brings them back; with neither it lists what is withdrawn."""
    started = time.perf_counter()
    registry = Registry.of(Folder.of(config.storage.root))
    if not config.items:
        found = listed(registry, registry.live())
        for item, told in found.items():
            print(f"withdraw: {item} since {told['since']}: {told['reason']}")
        print(f"withdraw: {len(found)} items are withdrawn")
        return {"withdrawn": found}
    if config.restore:
        switched = restore(registry, config.items, config.serve.ready_within_s)
    elif not config.reason:
        raise ValueError("reason: null; a withdrawal needs one, for the record; reason='...'")
    else:
        switched = withdraw(registry, config.items, config.reason, config.serve.ready_within_s)
    behind = f"; not yet known to {', '.join(switched.behind)}" if switched.behind else ""
    what = "back" if config.restore else "in no answer any more"
    print(f"withdraw: {len(config.items)} items are {what}, {time.perf_counter() - started:.2f} s{behind}")
    return {"withdrawn": listed(registry, switched.live)}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.withdraw")
