"""Two writers of an object store that meet: before a request of the one, the other does its whole work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from data.artifacts import folders
from data.artifacts.conditional_writes import ConditionalWrites, conditional_writes
from data.artifacts.folders import Folder
from data.artifacts.leases import FileLock, Lock


class Interrupted(ConditionalWrites):
    """Conditional writes of one writer, before whose n-th request another one does its whole work."""

    def __init__(self, uri: str, before: int, interrupt: Callable[[], object]) -> None:
        super().__init__(uri)
        self.requests, self._before, self._interrupt = 0, before, interrupt

    @property
    def met(self) -> bool:
        """Whether the other one has done its work."""
        return self.requests >= self._before

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


def interrupting(
    monkeypatch: pytest.MonkeyPatch, folder: Folder, step: int, interrupt: Callable[[], object]
) -> Interrupted:
    """Has another writer do its work before request `step` of this one. Both believe that they hold all locks.

    That is how it is after one was stopped for longer than its lease, and has not noticed yet.
    """

    @contextmanager
    def believed(self: Folder, name: str) -> Iterator[Lock]:
        yield FileLock()

    def interrupt_once() -> None:
        monkeypatch.setattr(folders, "conditional_writes", conditional_writes)
        interrupt()
        monkeypatch.setattr(folders, "conditional_writes", lambda _: interrupted)

    interrupted = Interrupted(folder.uri, step, interrupt_once)
    monkeypatch.setattr(Folder, "locked", believed)
    monkeypatch.setattr(folders, "conditional_writes", lambda _: interrupted)
    return interrupted
