"""The registry on an object store (moto's S3): writers that meet lose nothing."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from data.artifacts import folders
from data.artifacts.conditional_writes import ConditionalWrites, conditional_writes
from data.artifacts.folders import Folder
from data.artifacts.leases import FileLock, Lock
from data.artifacts.seals import sealing
from serve.releases.registry import ReleaseRegistry
from serve.rollout.denylist import deny, read_denylist

REQUESTS = 4
"""More than an update of the pointer sends to the object store: the pointer is read, then replaced."""


@pytest.fixture
def registry(bucket: Folder) -> ReleaseRegistry:
    """A registry in which release `a` is live, and `b` and `c` exist."""
    registry = ReleaseRegistry.of(bucket)
    for name in "abc":
        with sealing(registry.path(name), {"kind": "release", "created_at": name}) as staging:
            staging.write_json("rows.json", [name])
    registry.promote("a")
    return registry


class Interrupted(ConditionalWrites):
    """Conditional writes of one writer, before whose n-th request another one does its whole work."""

    def __init__(self, uri: str, before: int, interrupt: object) -> None:
        super().__init__(uri)
        self.requests, self._before, self._interrupt = 0, before, interrupt

    def _count(self) -> None:
        self.requests += 1
        if self.requests == self._before:
            self._interrupt()

    def read(self, path: str) -> object:
        self._count()
        return super().read(path)

    def _put(self, *args: object) -> object:
        self._count()
        return super()._put(*args)


@pytest.fixture
def without_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both writers believe that they hold the lock, as after one was stopped for longer than its lease."""

    @contextmanager
    def believed(self: ReleaseRegistry, what: str = "registry") -> Iterator[Lock]:
        yield FileLock()

    monkeypatch.setattr(ReleaseRegistry, "locked", believed)


@pytest.mark.parametrize("step", range(1, REQUESTS + 1))
def test_no_update_is_lost_where_two_writers_meet(
    registry: ReleaseRegistry, step: int, without_locks: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = conditional_writes(registry.folder.uri)

    def recall_another() -> None:
        monkeypatch.setattr(folders, "conditional_writes", lambda _: ours)
        deny(registry, ["theirs"], "recalled", 1)
        registry.promote("b")

    interrupted = Interrupted(registry.folder.uri, step, recall_another)
    monkeypatch.setattr(folders, "conditional_writes", lambda _: interrupted)
    deny(registry, ["ours"], "recalled", 1)
    met = interrupted.requests >= step
    live = registry.live()
    assert set(read_denylist(registry, live)) == ({"ours", "theirs"} if met else {"ours"})
    assert live.release == ("b" if met else "a")
    assert met == (step <= 2)  # the steps are all that there are: a third request comes of a conflict only


def test_recalls_of_many_operators_at_once_all_hold(registry: ReleaseRegistry) -> None:
    threads = [threading.Thread(target=deny, args=(registry, [str(i)], "recalled", 1)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert set(read_denylist(registry, registry.live())) == {str(i) for i in range(6)}


def test_rollback_and_promotion_at_once_end_in_one_of_the_two_orders(registry: ReleaseRegistry) -> None:
    registry.promote("b")
    threads = [
        threading.Thread(target=registry.rollback),
        threading.Thread(target=registry.promote, args=("c",)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    live = registry.live()
    assert (live.release, live.previous) == ("c", "a") if live.release == "c" else live.release == "b"
