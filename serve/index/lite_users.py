"""Who uses a .db of Milvus Lite: the process that serves it goes on with that until no other process needs it.

A process that is served by another holds a shared lock on a file beside the .db. The one that serves it stops under an
exclusive lock: whoever comes then waits, and finds that nobody serves it.
"""

import fcntl
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

POLL_S = 0.1
"""Seconds between two looks at whether other processes still use a .db."""

logger = logging.getLogger(__name__)

_here: Counter[tuple[Path, int]] = Counter()
"""For each .db and thread of this process, how many blocks of `using` last."""


@contextmanager
def using(path: Path) -> Iterator[None]:
    """Has whatever process serves a .db, or begins to, go on with it as long as the block lasts."""
    key = path, threading.get_ident()
    with _lock_file(path).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        _here[key] += 1
        try:
            yield
        finally:
            _here[key] -= 1


def stop_when_unused(path: Path, stop: Callable[[], None], is_needed_here: Callable[[], bool]) -> None:
    """Waits until no other process uses a .db that this one serves, and then calls `stop`; at Ctrl-C, at once.

    Args:
        is_needed_here: whether this process itself uses it again, which ends the waiting. (A block of `using` around
            this call does too: it would wait for itself.)
    """
    with _lock_file(path).open("ab") as lock:
        try:
            is_told = False
            while not (_is_locked(lock) or is_needed_here() or _here[path, threading.get_ident()]):
                if not is_told:
                    logger.warning("waiting for other commands that use %s, which this one serves to them", path)
                    is_told = True
                time.sleep(POLL_S)
        finally:
            stop()


def _is_locked(lock: IO[bytes]) -> bool:
    """Takes the exclusive lock, if nobody holds a shared one; returns whether it is held."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lock_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.users.lock")
