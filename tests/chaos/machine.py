"""What faults change of the machine: its clock, and the memory of the endpoint's processes alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
"""Where the first version of control groups limits memory."""

SQUEEZED_TO, SPARE = 0.02, 64 << 20
"""What is left of the page cache, and bytes that processes may ask for meanwhile."""


class Clock:
    """The clock of the whole machine, which can jump; monotonic clocks do not. Only root may set it.

    It must not jump by more than other work on the machine can bear.
    """

    def __init__(self) -> None:
        self._ahead = time.time() - time.monotonic()

    def shift(self, seconds: float) -> None:
        """Sets the clock ahead of what it was, or behind with a negative number; 0 sets it right again."""
        time.clock_settime(time.CLOCK_REALTIME, time.monotonic() + self._ahead + seconds)


class MemoryGroup:
    """A control group of processes, whose memory can be limited."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    @contextmanager
    def made(cls, name: str) -> "Iterator[MemoryGroup | None]":
        """A group that is there while the block lasts; None where this user may make none."""
        folder = MEMORY_GROUPS / name
        try:
            folder.mkdir(exist_ok=True)
        except OSError:
            yield None
            return
        try:
            yield cls(folder)
        finally:
            _remove(folder)

    @property
    def prefix(self) -> tuple[str, ...]:
        """Starts a command in this group."""
        return ("sh", "-c", f'echo $$ > {self._folder}/cgroup.procs && exec "$@"', "sh")

    def used(self) -> int:
        """Bytes that the group's processes hold, with the files that they have read or mapped."""
        return int((self._folder / "memory.usage_in_bytes").read_text())

    @contextmanager
    def squeezed(self) -> Iterator[None]:
        """Leaves the group's processes what they hold, and hardly any of the files that they have read or mapped."""
        statistics = dict(line.split() for line in (self._folder / "memory.stat").read_text().splitlines())
        cache, shared = int(statistics["total_cache"]), int(statistics.get("total_shmem", 0))
        self._limit(self.used() - cache + shared + int(SQUEEZED_TO * (cache - shared)) + SPARE)
        try:
            yield
        finally:
            self._limit(-1)

    def _limit(self, bytes_: int) -> None:
        """Sets the limit; the kernel takes pages back first, which may take several attempts."""
        for _ in range(20):
            try:
                (self._folder / "memory.limit_in_bytes").write_text(str(bytes_))
                return
            except OSError:  # pages are in use
                time.sleep(0.1)


def _remove(folder: Path) -> None:
    """Removes a group, whose last processes may be ending still."""
    for _ in range(100):
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.1)
