"""Trainings of one name run one after the other. Who waits for another says so."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Timer

from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter

AFTER_S = 1.0
"""Seconds after which a line says that a training waits."""


@contextmanager
def one_at_a_time(storage: Folder, name: str, progress: ProgressReporter) -> Iterator[None]:
    """Holds the lock of this name as long as the block runs; other processes wait for it.

    Args:
        storage: where the epochs of trainings are saved.
        progress: called with a line of text about what is waited for, from another thread.
    """
    waits = Timer(AFTER_S, progress, [f"train: waits for another run that trains {name}"])
    waits.daemon = True
    waits.start()
    with ExitStack() as stack:
        try:
            stack.enter_context((storage / "training" / ".locks").locked(name))
        finally:
            waits.cancel()
        yield
