"""What is popular now: weights by type, age and context, each part once."""

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.artifacts.folders import Folder
from data.artifacts.records.json_files import left_out
from data.sources.event_types import EventType, Sign
from serve.deployment.answers import popular_items as popular_items_module
from serve.deployment.answers.popular_items import PopularItems
from serve.events.config import EventsConfig
from serve.events.popular import now as popular
from serve.events.popular.now import PopularNow, add_popular
from serve.events.popular.weighing import KEPT_USERS, PLAIN

HOUR = 3600 * 1_000_000
CONFIG = EventsConfig(
    types={"buy": EventType(weight=40), "click": EventType(weight=1), "hide": EventType(sign=Sign.negative)},
    popular_half_life_h=24,
)


def event(item: str, type: str, hour: float, user: str = "u", **context: str) -> dict[str, Any]:
    time = int(hour * HOUR)
    values = {"event_id": f"{item}{hour}", "user_id": user, "item_id": item, "type": type, "time": time}
    return values | {"value": None, "context": context, "request_id": None, "received": time}


def other_table(_: bytes) -> bytes:
    """A Parquet file with other columns."""
    content = pa.BufferOutputStream()
    pq.write_table(pa.table({"context": [""], "item_id": ["a"], "heft": [1.0]}), content)
    return content.getvalue().to_pybytes()


@pytest.fixture(autouse=True)
def least_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """One user is enough where a test does not say otherwise."""
    monkeypatch.setattr(popular, "LEAST_USERS", 1)


@pytest.fixture
def storage(tmp_path: Path) -> Folder:
    return Folder.of(str(tmp_path))


def test_weights_decay_and_each_part_counts_once(storage: Folder) -> None:
    assert PopularNow.read(CONFIG, storage).at({}) is None
    add_popular(
        CONFIG, storage, "1", [event("a", "buy", 0, part="evening"), event("b", "click", 24), event("b", "hide", 24)]
    )
    for _ in range(2):  # as after a crash
        add_popular(CONFIG, storage, "2", [event("c", "buy", 48, part="morning"), event("a", "buy", 24, "v")])
    now = PopularNow.read(CONFIG, storage, 48 * HOUR)
    ids, weights = now.items[""]
    assert ids == ["c", "a", "b"]
    assert weights.tolist() == pytest.approx([40, 10 + 20, 0.5])
    assert now.items.keys() == {"", "part=morning"}, "of an evening two days ago, too little is left"
    assert now.at({"part": "morning"}) == "part=morning"
    assert now.at({"part": "evening"}) == now.at({}) == ""


def test_a_user_counts_once_for_an_item(storage: Folder) -> None:
    bot = [
        event("a", kind, 24 * n / 50, "bot", part="evening") for n in range(50) for kind in ("click", "buy", "click")
    ]
    others = [event("b", "buy", 24, user, part="evening") for user in ("u", "v")]
    add_popular(CONFIG, storage, "1", [*bot, *others, event("c", "click", 24, "bot")])
    now = PopularNow.read(CONFIG, storage, 24 * HOUR)
    assert now.items.keys() == {"", "part=evening"}
    assert now.items[""][0] == ["b", "a", "c"]
    assert now.items[""][1].tolist() == pytest.approx([80, 40 * 0.5 ** (1 / 50), 1])
    assert now.items["part=evening"][0] == ["b", "a"]


def test_who_comes_again_counts_once_over_all_parts(storage: Folder) -> None:
    """A script that sent an event every five minutes weighed as much as a hundred users."""
    for part in range(30):
        hour = part / 12
        crowd = [event("bc"[n > 1], "buy", hour, f"{part} {n}") for n in range(2 * KEPT_USERS)]
        add_popular(CONFIG, storage, f"{part}", [*(event(item, "buy", hour, "bot") for item in "ac"), *crowd])
    ids, weights = PopularNow.read(CONFIG, storage, int(29 / 12 * HOUR)).items[""]
    assert ids == ["c", "b", "a"]
    assert weights[2] == pytest.approx(40)
    whole = sum(40 * 0.5 ** (part / 12 / 24) for part in range(30))
    assert weights[1] == pytest.approx(2 * whole, rel=0.1), "few of the users share a number with one who is kept"
    assert weights[0] < 2 * KEPT_USERS * whole


def test_few_users_do_not_say_what_is_popular(storage: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "LEAST_USERS", 3)

    def contexts(hour: float) -> set[str]:
        return set(PopularNow.read(CONFIG, storage, int(hour * HOUR)).items)

    add_popular(CONFIG, storage, "1", [event(item, "buy", 0, "bot", part="evening") for item in "abcdefg"])
    assert contexts(0) == set()
    add_popular(CONFIG, storage, "2", [event("a", "buy", 1, user, part="evening") for user in ("bot", "u")])
    assert contexts(1) == set(), "two users, of whom one has come again"
    add_popular(CONFIG, storage, "3", [event("a", "buy", 2, "v")])
    assert contexts(2) == {""}, "of an evening there are two"
    for n in range(20):
        add_popular(CONFIG, storage, f"later {n}", [event("a", "buy", 90 + n / 10, "bot")])
    assert contexts(97) == {""}
    assert contexts(98) == set(), "what others have done is too long ago"


def test_the_file_of_an_earlier_version_which_knew_no_users_is_read(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(popular, "LEAST_USERS", 2)
    table = pa.table([[""], ["a"], [30.0]], names=PLAIN)
    earlier = table.replace_schema_metadata({"part": "1", "time_us": "0"})
    (storage / "events").write_table(popular.FILE, earlier)
    assert PopularNow.read(CONFIG, storage, 0).items[""][0] == ["a"]
    add_popular(CONFIG, storage, "2", [event("b", "buy", 0, user) for user in ("u", "v")])
    assert PopularNow.read(CONFIG, storage, 0).items[""][0] == ["b", "a"]


@pytest.mark.parametrize("damage", [lambda content: content[: len(content) // 2], lambda _: b"", other_table])
def test_a_damaged_file_is_named_and_counted_anew(
    storage: Folder, damage: Callable[[bytes], bytes], caplog: pytest.LogCaptureFixture
) -> None:
    add_popular(CONFIG, storage, "1", [event("a", "buy", 0)])
    folder = storage / "events"
    folder.write_bytes(popular.FILE, damage(folder.read_bytes(popular.FILE)))
    with pytest.raises((OSError, ValueError)):
        PopularNow.read(CONFIG, storage)
    left_out.cache_clear()
    add_popular(CONFIG, storage, "2", [event("b", "buy", 1)])
    assert PopularNow.read(CONFIG, storage, HOUR).items[""][0] == ["b"]
    assert f"{folder}/{popular.FILE}: cannot be read" in caplog.text


def test_the_heaviest_are_kept(storage: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(popular, "MAX_ITEMS", 2)
    monkeypatch.setattr(popular, "MAX_CONTEXTS", 2)
    events = [event(item, "buy", hour, part=item) for item, hour in (("a", 1), ("b", 2), ("c", 3))]
    add_popular(CONFIG, storage, "1", [*events, event("c", "buy", 3, "v", part="c")])
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


class Adapter:
    """A release with three items; it notes in which threads ids are looked up, and can be made to wait."""

    def __init__(self) -> None:
        self.release_id, self.fallback = "r", "of the release"
        self.items = SimpleNamespace(rows=self.rows)
        self.threads: list[threading.Thread] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def rows(self, ids: Any) -> np.ndarray:
        self.threads.append(threading.current_thread())
        self.may_go_on.wait(60)
        return np.array([{"a": 1, "b": 2, "c": 3}[id_] for id_ in ids.to_pylist()])


class Referable(str):
    """A string to which a weak reference can be made."""


def first(found: Any) -> list[int] | str:
    """The rows that are popular now; a string where those of the release answer."""
    return found if isinstance(found, str) else found._rows.tolist()


async def becomes(popular_items: PopularItems, adapter: Any, wanted: object, context: dict[str, str]) -> None:
    async with asyncio.timeout(30):
        while first(popular_items.of(adapter, context)) != wanted:
            await asyncio.sleep(0.01)


async def test_ids_are_looked_up_in_a_thread_and_what_was_popular_answers_meanwhile(
    storage: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(popular_items_module, "EVERY_S", 0.0)
    hour, evening = time.time() / 3600, {"part": "evening"}
    add_popular(CONFIG, storage, "1", [event("a", "buy", hour, part="evening")])
    popular_items, adapter = PopularItems(CONFIG, storage), Adapter()
    asked: Any = adapter
    await popular_items.refresh()
    adapter.may_go_on.clear()
    assert {first(popular_items.of(asked, evening)) for _ in range(5)} == {adapter.fallback}
    adapter.may_go_on.set()
    await becomes(popular_items, adapter, [1], evening)
    assert len(adapter.threads) == 1, "once for all who ask"
    add_popular(CONFIG, storage, "2", [event("b", "buy", hour, user, part="evening") for user in ("u", "v")])
    adapter.may_go_on.clear()
    await popular_items.refresh()
    assert first(popular_items.of(asked, evening)) == [1], "that of the reading before"
    adapter.may_go_on.set()
    await becomes(popular_items, adapter, [2, 1], evening)
    assert threading.main_thread() not in adapter.threads


@pytest.mark.parametrize("is_damaged", [False, True])
async def test_a_release_that_is_not_asked_any_more_is_not_kept(
    storage: Folder, monkeypatch: pytest.MonkeyPatch, is_damaged: bool
) -> None:
    monkeypatch.setattr(popular_items_module, "EVERY_S", 0.0)
    add_popular(CONFIG, storage, "1", [event("a", "buy", time.time() / 3600)])
    popular_items, adapter = PopularItems(CONFIG, storage), Adapter()
    adapter.fallback = Referable(adapter.fallback)
    await popular_items.refresh()
    await becomes(popular_items, adapter, [1], {})
    if is_damaged:
        (storage / "events").write_bytes(popular.FILE, b"PAR1cut")
    for _ in range(2):
        await popular_items.refresh()
    kept = [weakref.ref(adapter), weakref.ref(adapter.fallback)]
    del adapter
    gc.collect()
    assert [of() for of in kept] == [None, None]


@pytest.mark.parametrize("off", [{"popular_half_life_h": 0}, {"store": "off"}])
async def test_what_was_popular_is_left_alone_where_that_is_off(storage: Folder, off: dict[str, Any]) -> None:
    now = {"time": time.time_ns() // 1000, "received": time.time_ns() // 1000}
    add_popular(CONFIG, storage, "1", [event("a", "buy", 0) | now])
    adapter = Adapter()
    for config, is_on in ((CONFIG, True), (replace(CONFIG, **off), False)):
        popular_items = PopularItems(config, storage)
        await popular_items.refresh()
        await becomes(popular_items, adapter, [1] if is_on else adapter.fallback, {})
