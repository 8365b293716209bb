"""What is popular now: weights by type, age and context, each part once."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from data.artifacts.folders import Folder
from data.sources.event_types import EventType, Sign
from serve.deployment.answers.popular_items import PopularItems
from serve.events import popular
from serve.events.config import EventsConfig
from serve.events.popular import PopularNow, add_popular

ROWS = np.array([1])
HOUR = 3600 * 1_000_000
CONFIG = EventsConfig(
    types={"buy": EventType(weight=40), "click": EventType(weight=1), "hide": EventType(sign=Sign.negative)},
    popular_half_life_h=24,
)


def event(item: str, type: str, hour: float, **context: str) -> dict[str, Any]:
    time = int(hour * HOUR)
    values = {"event_id": f"{item}{hour}", "user_id": "u", "item_id": item, "type": type, "time": time}
    return values | {"value": None, "context": context, "request_id": None, "received": time}


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder.of(str(tmp_path))


def test_weights_decay_and_each_part_counts_once(storage: Folder) -> None:
    assert PopularNow.read(CONFIG, storage).at({}) is None
    add_popular(
        CONFIG, storage, "1", [event("a", "buy", 0, part="evening"), event("b", "click", 24), event("b", "hide", 24)]
    )
    for _ in range(2):  # as after a crash
        add_popular(CONFIG, storage, "2", [event("c", "buy", 48, part="morning"), event("a", "buy", 24)])
    now = PopularNow.read(CONFIG, storage, 48 * HOUR)
    ids, weights = now.items[""]
    assert ids == ["c", "a", "b"]
    assert weights.tolist() == pytest.approx([40, 10 + 20, 0.5])
    assert now.items.keys() == {"", "part=morning"}, "of an evening two days ago, too little is left"
    assert now.at({"part": "morning"}) == "part=morning"
    assert now.at({"part": "evening"}) == now.at({}) == ""


def test_the_heaviest_are_kept(storage: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MAX_ITEMS", 2)
    monkeypatch.setattr(popular, "MAX_CONTEXTS", 2)
    events = [event(item, "buy", hour, part=item) for item, hour in (("a", 1), ("b", 2), ("c", 3))]
    add_popular(CONFIG, storage, "1", [*events, event("c", "buy", 3, part="c")])
    now = PopularNow.read(CONFIG, storage, 3 * HOUR)
    assert now.items[""][0] == ["c", "b"]
    assert now.items.keys() == {"", "part=c"}


def test_without_further_events_what_was_popular_decays(storage: Folder) -> None:
    add_popular(CONFIG, storage, "1", [event("a", "buy", 0), event("b", "buy", 0)])
    for hours, weight in ((0, 40), (24, 20), (48, 10)):
        ids, weights = PopularNow.read(CONFIG, storage, hours * HOUR).items[""]
        assert (sorted(ids), weights.tolist()) == (["a", "b"], pytest.approx([weight, weight]))
    assert PopularNow.read(CONFIG, storage, 72 * HOUR).at({}) is None, "too little is left"
    assert PopularNow.read(CONFIG, storage).at({}) is None, "as of now"


@pytest.mark.parametrize("off", [{"popular_half_life_h": 0}, {"store": "off"}])
async def test_what_was_popular_is_left_alone_where_that_is_off(storage: Folder, off: dict[str, Any]) -> None:
    now = {"time": time.time_ns() // 1000, "received": time.time_ns() // 1000}
    add_popular(CONFIG, storage, "1", [event("a", "buy", 0) | now])
    adapter = SimpleNamespace(release_id="r", fallback="of the release", items=SimpleNamespace(rows=lambda _: ROWS))
    for config, is_on in ((CONFIG, True), (replace(CONFIG, **off), False)):
        popular_items = PopularItems(config, storage)
        await popular_items.refresh()
        found: Any = popular_items.of(adapter, {})  # type: ignore[arg-type]
        assert (found != adapter.fallback) == is_on
