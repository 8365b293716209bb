"""Users who were forgotten and may still be in the event log: one pass over its files removes those of a compaction.

A pass notes which files it has done. After a crash, or a restart, the next compaction goes on with it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from data.artifacts.folders import json_bytes
from data.artifacts.leases import Lock
from data.artifacts.records.json_files import read_json_file
from data.artifacts.records.updates import update_file
from data.sources.event_log.files import EventLog
from data.sources.event_log.users import times_of

REMOVING = "_removing.json"

WHAT, CURE = "the users who are being removed", "remove it, and forget again the users who were forgotten lately"


@dataclass(frozen=True, slots=True)
class Removing:
    """The content of `_removing.json`.

    Attributes:
        users: By `user_key`, when they were forgotten, in microseconds since 1970; none if there is nothing to do.
        until_us: Until when the log is complete once they are removed, in microseconds since 1970.
        after: The last file that is done, with all before it; empty at the beginning.
    """

    users: dict[str, int] = field(default_factory=dict)
    until_us: int = 0
    after: str = ""

    @classmethod
    def of(cls, log: EventLog) -> "Removing":
        """What is noted of a log.

        Raises:
            DamagedFile: It is not known who is still to be removed.
        """
        if not log.folder.exists(REMOVING):
            return cls()
        return read_json_file(log.folder, REMOVING, _removing, WHAT, CURE)

    def also(self, users: Mapping[str, int], until_us: int) -> "Removing":
        """With further users, for whom the pass begins anew, and the log complete until a later time."""
        more = self.users | {user: max(at, self.users.get(user, at)) for user, at in users.items()}
        return Removing(more, max(self.until_us, until_us), self.after if more == self.users else "")

    def done_until(self, file: str) -> "Removing":
        """With the files until this one done."""
        return replace(self, after=max(self.after, file))

    def note(self, log: EventLog, lock: Lock) -> None:
        """Writes the file.

        Args:
            lock: The lock of compaction, which this process holds.
        """
        update_file(log.folder, REMOVING, lambda _: json_bytes(asdict(self)), lock)


def _removing(value: Any) -> Removing:
    return Removing(times_of(value["users"]), int(value["until_us"]), str(value["after"]))


def note_complete(log: EventLog, until_us: int, forgotten: Mapping[str, int], lock: Lock) -> None:
    """Notes that all events that were accepted until a time are in the files.

    Where users are still to be removed, the log says so only once they are, since whoever reads it until then must not
    find them.

    Args:
        forgotten: By `user_key`, when further users were forgotten whom the log may have.
        lock: The lock of compaction, which this process holds.

    Raises:
        DamagedFile: It is not known who is still to be removed.
    """
    removing = Removing.of(log).also(forgotten, until_us)
    if removing.users:
        removing.note(log, lock)
    else:
        log.set_until(until_us, lock)


def end_removing(log: EventLog, lock: Lock) -> None:
    """Notes that nobody is to be removed any more, of the events and of all else that names them.

    Args:
        lock: The lock of compaction, which this process holds.
    """
    log.set_until(Removing.of(log).until_us, lock)
    lock.require()
    log.folder.delete_file(REMOVING)
