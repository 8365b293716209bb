"""What faults change of the machine for the endpoint's processes alone: their clock and their memory.

Both are prefixes of the command that starts the endpoint; all its processes inherit them.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LIBRARIES = tuple(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
"""libfaketime (Debian's package faketime), which answers a process that asks for the time."""

MEMORY_GROUPS = Path("/sys/fs/cgroup/memory")
"""Where the first version of control groups limits memory."""

SQUEEZED_TO, SPARE = 0.02, 64 << 20
"""What is left of the page cache, and bytes that processes may ask for meanwhile."""


class Clock:
    """A clock that can jump. Monotonic clocks and the times of files stay as they are.

    Args:
        file: says by how many seconds the clock is ahead; processes read it once a second.
    """

    def __init__(self, file: Path) -> None:
        self._file = file.absolute()
        self.shift(0)

    @classmethod
    def of(cls, file: Path) -> "Clock | None":
        """A clock, where libfaketime is installed."""
        return cls(file) if LIBRARIES else None

    @property
    def prefix(self) -> tuple[str, ...]:
        """Starts a command whose clock this is."""
        return (
            "env",
            f"LD_PRELOAD={LIBRARIES[0]}",
            f"FAKETIME_TIMESTAMP_FILE={self._file}",
            "FAKETIME_CACHE_DURATION=1",
            "FAKETIME_DONT_FAKE_MONOTONIC=1",
            "NO_FAKE_STAT=1",
        )

    def shift(self, seconds: int) -> None:
        """Sets the clock ahead of the machine's, or behind with a negative number."""
        aside = self._file.with_suffix(".new")
        aside.write_text(f"{seconds:+d}\n")
        aside.replace(self._file)


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
