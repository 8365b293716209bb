"""Takes items out of every answer at once: `python -m serve.withdraw items=[i00007] reason='recalled'`.

It holds for all releases, those to come too, until `restore=true` ends it. Replicas leave the items out by their next
look at the pointer, and the command returns when all of them do.
"""

import uuid
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from data.artifacts.errors import ConfigError
from serve.releases.pointer import Live, now
from serve.releases.registry import MOST_WITHDRAWN, WITHDRAWN, Registry
from serve.releases.release import ReleaseError
from serve.rollout.switch import Switched, followed


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
        if len(after) > MOST_WITHDRAWN:
            raise ConfigError(
                f"items: {len(after)} would be withdrawn, {MOST_WITHDRAWN} at most; publish a release without them"
            )
        if after == before:
            return live
        name = f"{uuid.uuid4().hex}.json"
        registry.folder.write_json(f"{WITHDRAWN}/{name}", after)
        return replace(live, withdrawn=name)

    return followed(registry, registry.move(move), within_s)
