"""What a release answers in the process of the page."""

from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from serve.rollout.denylist import deny, restore
from serve.viewer.reading.opened import OpenedRelease, Order

if TYPE_CHECKING:
    from serve.releases.release import Release


def test_items_withdrawn_after_it_was_opened_are_in_no_list(
    tiny: Config, release: "Release", known_user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = ReleaseRegistry.of(Folder.of(tiny.storage.root))
    opened = OpenedRelease.open(registry, release.id, 100)

    def lists() -> dict[Order, list[str]]:
        return {order: opened.lists(pa.array([known_user]), order, 5)[0] for order in Order}

    before = lists()
    first = {items[0] for items in before.values()}
    read: list[str | None] = []
    read_denylist = ReleaseRegistry.read_denylist
    monkeypatch.setattr(
        ReleaseRegistry, "read_denylist", lambda self, name: read.append(name) or read_denylist(self, name)
    )
    try:
        deny(registry, first, "recalled", 1)
        assert not any(first & set(items) for items in lists().values())
        assert len(read) == 1  # a denylist never changes: it is read once
    finally:
        restore(registry, first, 1)
    assert lists() == before
