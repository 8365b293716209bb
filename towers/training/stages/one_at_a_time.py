"""Trainings of one name run one after the other. Who waits for another says so, and does not count as hanging."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event, Thread

from data.artifacts.folders import Folder
from data.cluster.console import ProgressReporter
from towers.sweeps.trial import current_trial

EVERY_S = 1.0
"""Seconds after which a line says that a training waits, and between two reports to its sweep that it lives."""


@contextmanager
def one_at_a_time(storage: Folder, name: str, progress: ProgressReporter) -> Iterator[None]:
    """Holds the lock of this name as long as the block runs; other processes wait for it.

    Args:
        storage: where the epochs of trainings are saved.
        progress: called with a line of text about what is waited for, from another thread.
    """
    with ExitStack() as stack:
        with _telling(name, progress):
            stack.enter_context((storage / "training" / ".locks").locked(name))
        yield


@contextmanager
def _telling(name: str, progress: ProgressReporter) -> Iterator[None]:
    """Tells of a block that lasts: the user once, and the sweep that this process works for again and again."""
    ended, trial = Event(), current_trial()

    def tell() -> None:
        if ended.wait(EVERY_S):
            return
        progress(f"train: waits for another run that trains {name}")
        while trial is not None:
            trial.report_alive()
            if ended.wait(EVERY_S):
                return

    telling = Thread(target=tell, name=f"waiting for {name}", daemon=True)
    telling.start()
    try:
        yield
    finally:
        ended.set()
        telling.join()
