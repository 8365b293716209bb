"""What a process and all its descendants hold and compute, watched from outside while they run."""

import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

EVERY_S, ALL_EVERY_S = 0.05, 1.0


@dataclass
class Watch:
    """The memory of a process and of its descendants over time.

    Attributes:
        pid: of the process.
        own: moments and MiB of the process itself, all of its resident memory.
        together: moments and MiB of all processes; what several of them share counts once.
        cpu: moments and seconds of computation so far, of all processes that were seen.
    """

    pid: int
    own: list[tuple[float, float]] = field(default_factory=list)
    together: list[tuple[float, float]] = field(default_factory=list)
    cpu: list[tuple[float, float]] = field(default_factory=list)
    _cpu_of: dict[int, float] = field(default_factory=dict)

    def __enter__(self) -> "Watch":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def most(self, began: float, ended: float) -> tuple[float, float]:
        """The most MiB of the process, and of all together, between two moments."""
        own, together = ([mib for at, mib in of if began <= at <= ended] for of in (self.own, self.together))
        return max(own, default=0.0), max(together, default=0.0)

    def computed(self, began: float, ended: float) -> float:
        """Seconds of computation between two moments, to about a second of each process that ended meanwhile."""
        so_far = [seconds for at, seconds in self.cpu if at <= began][-1:] or [0.0]
        until = [seconds for at, seconds in self.cpu if at <= ended + ALL_EVERY_S][-1:] or so_far
        return until[0] - so_far[0]

    def _look(self) -> None:
        due = 0.0
        while not self._stop.wait(EVERY_S):
            now = time.time()
            self.own.append((now, sum(_fields(f"/proc/{self.pid}/status", "VmRSS"))))
            if now >= due:
                self.together.append((now, sum(self._shares())))
                self.cpu.append((now, sum(self._cpu_of.values())))
                due = time.time() + ALL_EVERY_S

    def _shares(self) -> Iterator[float]:
        try:
            process = psutil.Process(self.pid)
            everyone = [process, *process.children(recursive=True)]
        except psutil.Error:
            return
        for one in everyone:
            with suppress(psutil.Error):
                times = one.cpu_times()
                self._cpu_of[one.pid] = times.user + times.system
            yield from _fields(f"/proc/{one.pid}/smaps_rollup", "Pss")


def _fields(path: str, name: str) -> Iterator[float]:
    """The value of a line of a file of the kernel, in MiB; nothing where the process has ended."""
    try:
        with Path(path).open() as file:
            for line in file:
                key, _, value = line.partition(":")
                if key == name:
                    yield int(value.split()[0]) / 1024
    except OSError:
        return
