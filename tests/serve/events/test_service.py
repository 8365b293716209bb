"""Events in a replica: never lost in silence. What cannot be written in time is refused, and may be sent again."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from serve.events.event import Event
from serve.events.protocol import Outcome, StoreUnavailable
from serve.events.service import EventsUnavailable, UserEvents
from serve.events.sqlite_store import SqliteStore
from tests.conformance.events import config, event


class Slow(SqliteStore):
    """Writes when it may."""

    may_write = threading.Event()
    groups: list[int]

    def append(self, events: Sequence[Event]) -> list[Outcome]:
        self.may_write.wait(10)
        self.groups.append(len(events))
        return super().append(events)


class Broken(SqliteStore):
    def append(self, *_: object) -> list[Outcome]:
        raise StoreUnavailable("the disk is full")

    read = append  # type: ignore[assignment]
    forget = append  # type: ignore[assignment]


async def test_requests_that_wait_share_a_write(tmp_path: Path) -> None:
    values = config(path=str(tmp_path / "a.sqlite"))
    store = Slow(values)
    store.groups = []
    events = UserEvents(values, store)
    waiting = [asyncio.ensure_future(events.accept([event(str(n))])) for n in range(50)]
    await asyncio.sleep(0.05)
    store.may_write.set()
    assert await asyncio.gather(*waiting) == 50 * [[Outcome.accepted]]
    assert (sum(store.groups), len(store.groups) <= 2) == (50, True)
    assert len((await events.read("u")).events) == 50
    await events.close()
    assert not events.is_alive


async def test_too_much_that_waits_is_refused_and_nothing_that_was_taken_is_lost(tmp_path: Path) -> None:
    values = config(path=str(tmp_path / "a.sqlite"), max_waiting=500, accept_ms=10_000)
    store = Slow(values)
    store.groups, store.may_write = [], threading.Event()
    events = UserEvents(values, store)
    taken = asyncio.ensure_future(events.accept([event(f"a{n}") for n in range(500)]))
    await asyncio.sleep(0)
    with pytest.raises(EventsUnavailable, match="events are not accepted now, send them again: 500 wait already"):
        await events.accept([event("b")])
    store.may_write.set()
    assert await taken == 500 * [Outcome.accepted]
    assert await events.accept([event("b")]) == [Outcome.accepted]
    await events.close()


async def test_a_write_that_takes_too_long_is_refused_and_a_duplicate_afterwards(tmp_path: Path) -> None:
    values = config(path=str(tmp_path / "a.sqlite"), accept_ms=50)
    store = Slow(values)
    store.groups, store.may_write = [], threading.Event()
    events = UserEvents(values, store)
    one = event("1")
    with pytest.raises(EventsUnavailable, match="TimeoutError"):
        await events.accept([one])
    store.may_write.set()
    outcomes: list[Outcome] = []
    while not outcomes:  # as a client does: a busy machine may take too long for this write too
        with contextlib.suppress(EventsUnavailable):
            outcomes = await events.accept([one])
    assert set(outcomes) <= {Outcome.accepted, Outcome.duplicate}
    assert store.num_waiting() == 1
    await events.close()


async def test_a_store_that_fails_is_said(tmp_path: Path) -> None:
    events = UserEvents(values := config(path=str(tmp_path / "a.sqlite")), Broken(values))
    with pytest.raises(EventsUnavailable, match="the disk is full"):
        await events.accept([event("1")])
    with pytest.raises(EventsUnavailable, match="the state of users is not available now, try again: the disk"):
        await events.read_now("u", 10)
    with pytest.raises(EventsUnavailable, match="the disk is full"):
        await events.forget("u")
    assert events.is_alive
    await events.close()


class Hanging(SqliteStore):
    """Forgets nobody before it may."""

    may_forget = threading.Event()

    def forget(self, user_id: str, now_us: int) -> int:
        self.may_forget.wait(30)
        return super().forget(user_id, now_us)


async def test_a_store_that_hangs_takes_no_threads_of_others(tmp_path: Path) -> None:
    values = config(path=str(tmp_path / "a.sqlite"), accept_ms=50)
    store = Hanging(values)
    events = UserEvents(values, store)
    refused = await asyncio.gather(*(events.forget(f"u{n}") for n in range(200)), return_exceptions=True)
    assert {type(error) for error in refused} == {EventsUnavailable}
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(int) == 0
    store.may_forget.set()
    await events.close()


async def test_a_path_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    values = config(path=str(tmp_path / "file" / "a.sqlite"))
    events = UserEvents.of(values)
    with pytest.raises(EventsUnavailable, match=r"events\.path: .*file/a\.sqlite"):
        await events.accept([event("1")])
    await events.close()
