"""Leases: locks on an object store, which has none of its own.

A lease is an object that its holder renews. Who finds it held watches it: a holder whose lease has not changed for
`LEASE_S` seconds, by the watcher's own clock, is taken for dead, and the lease is taken over. No two clocks are ever
compared. A holder that was stopped for so long, and goes on, learns from `Lease.require` that it lost the lock.

The same is done by AWS' DynamoDB lock client and by Kubernetes' leader election.
"""

import json
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from data.artifacts.conditional_writes import ConditionalWrites, Version
from data.artifacts.errors import ConfigError, UserError
from data.artifacts.json_text import json_text

logger = logging.getLogger(__name__)

LEASE_S = 15.0
"""Seconds without a renewal after which a holder is taken for dead."""

RENEWAL_S = 4.0
"""Seconds between renewals."""

POLL_S = 0.25
"""Seconds between looks at a lease that somebody else holds."""


class Lock(Protocol):
    """A lock that this process holds."""

    def require(self) -> None:
        """Checks that this process still holds the lock. Call it before a step that only the holder may take.

        Raises:
            LeaseLost: another process may hold the lock by now.
        """


class FileLock:
    """A lock on a file of a disk, which its holder cannot lose."""

    def require(self) -> None:
        """Does nothing: the operating system keeps the lock as long as the process lives."""


ALONE: Lock = FileLock()
"""The lock of a process that alone changes something; it cannot be lost."""


Step = Callable[[], object]
"""Called again and again by work that takes long, so that whoever watches over it sees that it goes on."""


def unwatched() -> None:
    """Does nothing: the `Step` of work that nobody watches over."""


class WatchedLock:
    """A lock under which long work is done. Each `require` says that the work goes on: call it for each file.

    Args:
        lock: What this process holds.
        step: Called by each `require`.
    """

    def __init__(self, lock: Lock, step: Step) -> None:
        self._lock, self._step = lock, step

    def require(self) -> None:
        """See `Lock.require`."""
        self._step()
        self._lock.require()


def held_to_the_end(lock: Lock) -> Iterator[Any]:
    """No rows, at the end of those of a file that only the holder may write: it requires the lock once all are read."""
    lock.require()
    yield from ()


class LeaseLost(UserError, RuntimeError):
    """Another process has taken over the lock, because this one had not renewed it for `LEASE_S` seconds."""


class Lease:
    """A lock on an object store, held by this process. Made by `leased`."""

    def __init__(self, store: ConditionalWrites, path: str) -> None:
        self._store, self._path = store, path
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
        self._renewals = 0
        self._version: Version | None = None
        self._renewed_at = 0.0
        self._ended = threading.Event()

    def require(self) -> None:
        """See `Lock.require`."""
        if self._version is None or time.monotonic() - self._renewed_at > LEASE_S:
            raise LeaseLost(
                f"lock {self._path}: this process had not renewed it for {LEASE_S:.0f} s, and another one may have"
                " taken it over; run the command again"
            )

    def _acquire(self) -> None:
        """Waits until the lease is free or its holder is taken for dead, and takes it."""
        seen: Version | None = None
        since, is_told = time.monotonic(), False
        while True:
            found = self._store.read(self._path)
            if found is None:
                if self._write(None):
                    self._check_store()
                    return
                continue
            content, version = found
            if version != seen:
                seen, since = version, time.monotonic()
            holder = _holder(content)
            is_free = holder is None or time.monotonic() - since > LEASE_S
            if is_free and self._write(version):
                self._check_store()
                return
            if not is_free:
                if not is_told:
                    held_by = str(holder).rpartition(":")[0]
                    logger.warning("waiting for the lock %s, held by %s", self._path, held_by)
                    is_told = True
                time.sleep(POLL_S)

    def _write(self, version: Version | None, *, is_release: bool = False) -> bool:
        """Writes the lease on the condition that it is still of this version (None: does not exist)."""
        started = time.monotonic()
        self._renewals += 1
        value = {"holder": None if is_release else self._holder, "renewals": self._renewals, "of": self._holder}
        content = json_text(value).encode()
        new = (
            self._store.create(self._path, content)
            if version is None
            else self._store.replace(self._path, content, version)
        )
        if new is not None:
            self._version, self._renewed_at = new, started
        return new is not None

    def _check_store(self) -> None:
        """Refuses an object store that accepts writes whose conditions do not hold.

        Raises:
            ConfigError: it takes no notice of conditions.
        """
        probe = json_text({"holder": None, "probe": uuid.uuid4().hex}).encode()
        if (
            self._store.create(self._path, probe) is not None
            or self._store.replace(self._path, probe, {"e_tag": '"0"', "version": "0"}) is not None
        ):
            raise ConfigError(
                f"storage.root: the object store of {self._path} takes no notice of If-None-Match and If-Match, so two"
                " writers could overwrite each other unseen; use one that does, or a disk"
            )

    def _renew_until_ended(self) -> None:
        while not self._ended.wait(RENEWAL_S):
            try:
                if not self._write(self._version):
                    self._version = None
                    return
            except OSError:  # it may answer again before the lease runs out
                continue

    def _release(self) -> None:
        """Frees the lease, unless another process has taken it over."""
        if self._version is not None:
            with suppress(OSError):  # it then runs out by itself
                self._write(self._version, is_release=True)


def _holder(content: bytes) -> str | None:
    """Who holds a lease; a damaged one counts as held, so that it is taken over when it has not changed for long."""
    try:
        holder = json.loads(content)["holder"]
    except (ValueError, TypeError, KeyError):
        holder = 0
    return holder if holder is None or isinstance(holder, str) else "a process that a damaged lease does not name:"


@contextmanager
def leased(store: ConditionalWrites, path: str) -> Iterator[Lease]:
    """Holds the lease at this path as long as the block runs; other processes wait for it.

    Raises:
        ConfigError: the object store takes no notice of conditions.
        OSError: the object store does not answer, or refuses.
    """
    lease = Lease(store, path)
    lease._acquire()
    renewing = threading.Thread(target=lease._renew_until_ended, name=f"lease {path}", daemon=True)
    renewing.start()
    try:
        yield lease
    finally:
        lease._ended.set()
        renewing.join()
        lease._release()
