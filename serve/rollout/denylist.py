"""The denylist: recalled items that no release may answer with. The mechanism behind `python -m serve.withdraw`.

It holds for all releases, future ones included, until the items are restored. Replicas leave the items out as soon as
they next read the live pointer; the functions here return when all replicas do. A replica that is cut off from the
storage goes on answering with the items, and marks its answers as stale, unless `serve.stale_pointer` is `refuse`:
`deny` waits for it, and then names it.
"""

import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.errors import ConfigError, one_line
from data.artifacts.records.json_files import left_out
from serve.releases.audit.approvals import Approvals
from serve.releases.pointer import LivePointer, utc_timestamp
from serve.releases.registry import DENYLISTS, Denylist, ReleaseRegistry
from serve.releases.release import MAX_EXCLUDED_ITEMS, ReleaseError
from serve.rollout.two_phase import RolloutResult, wait_until_followed
from serve.rollout.waiting import wait_for_denylist

ITEMS, ITEM_ID = "items.parquet", "item_id"
"""The file of a release with its items, and the column with their ids."""


def deny(registry: ReleaseRegistry, items: Iterable[str], reason: str, within_s: float) -> RolloutResult:
    """Adds items to the denylist; items that are on it already keep their reason and time.

    Args:
        within_s: seconds to wait for the replicas.

    Returns:
        The rollout. Where `may_answer` names replicas, these may still answer with the items.

    Raises:
        ReleaseError: no release is live.
        ConfigError: the list would become too long.
        NeedsApproval: a second operator must approve it first, unless nothing would change.
    """
    items = sorted(set(items))
    approve = _approval(registry, items=items, reason=reason)
    entry = {"reason": reason, "since": utc_timestamp()}
    ends = time.monotonic() + within_s
    rollout = _update(
        registry, lambda before: before | {item: entry for item in items if item not in before}, approve, within_s
    )
    may_answer = wait_for_denylist(registry, rollout.live, ends - time.monotonic())
    return replace(rollout, may_answer=[str(heartbeat) for heartbeat in may_answer])


def restore(registry: ReleaseRegistry, items: Iterable[str], within_s: float) -> RolloutResult:
    """Takes items off the denylist.

    Args:
        within_s: seconds to wait for the replicas.

    Raises:
        ReleaseError: no release is live.
        NeedsApproval: a second operator must approve it first, unless nothing would change.
    """
    items = sorted(set(items))
    approve = _approval(registry, items=items, restore=True)
    restored = set(items)
    return _update(
        registry, lambda before: {i: entry for i, entry in before.items() if i not in restored}, approve, within_s
    )


def unknown_items(registry: ReleaseRegistry, items: Iterable[str]) -> list[str]:
    """The ids that no release has, sorted. The live release is read first, and others only as far as it takes.

    A release whose items cannot be read is left out, and named.
    """
    missing, live = set(items), registry.live()
    newest_first = reversed(registry.ids())
    for release_id in sorted(newest_first, key=lambda id_: live is None or id_ != live.release):
        if not missing:
            break
        try:
            known = registry.path(release_id).read_table(ITEMS, [ITEM_ID])[ITEM_ID]
        except (OSError, ValueError) as e:  # pyarrow raises either for a file that is cut
            left_out(f"{registry.path(release_id)}/{ITEMS}: cannot be read ({one_line(e)}); publish the release again")
            continue
        missing -= set(known.filter(pc.is_in(known, pa.array(sorted(missing), known.type))).to_pylist())
    return sorted(missing)


def read_denylist(registry: ReleaseRegistry, live: LivePointer | None) -> Denylist:
    """The denylist that the pointer names; empty where it names none. It raises what `ReleaseRegistry.denied` does."""
    return registry.denied(None if live is None else live.denylist)


def _approval(registry: ReleaseRegistry, **what: Any) -> Callable[[], None]:
    """Uses up the approval of a change of the denylist when it is first called; raises NeedsApproval where it lacks."""
    return cache(partial(Approvals(registry.folder).check, "withdraw", **what))


def _update(
    registry: ReleaseRegistry, change: Callable[[Denylist], Denylist], approve: Callable[[], None], within_s: float
) -> RolloutResult:
    """Writes a new list beside the old one, has the live pointer name it, and waits until all replicas follow.

    Args:
        approve: raises where the change needs an approval that it lacks; where nothing would change it is not called.
    """

    def with_new_list(live: LivePointer | None) -> LivePointer:
        if live is None:
            raise ReleaseError("no release is live: there is nothing to withdraw from")
        before = read_denylist(registry, live)
        after = change(before)
        if len(after) > MAX_EXCLUDED_ITEMS:
            raise ConfigError(
                f"items: {len(after)} would be withdrawn, {MAX_EXCLUDED_ITEMS} at most; publish a release without them"
            )
        if after == before:
            return live
        approve()
        name = f"{uuid.uuid4().hex}.json"
        registry.folder.write_json(f"{DENYLISTS}/{name}", after)
        return replace(live, denylist=name)

    return wait_until_followed(registry, registry.update_pointer(with_new_list), within_s)
