"""Changes of the live pointer in the history, also those of a process that was killed before it could add them.

The pointer itself says who changed it, when, by which command, and under which name the history has that (`Stamp`). So
whoever changes or reads it next can tell whether the entry is there, and knows all that it should say.
"""

from datetime import datetime
from typing import Any

from data.artifacts.folders import Folder
from serve.releases.audit.history import HISTORY, read_history
from serve.releases.pointer import LivePointer


def record_change(releases: Folder, live: LivePointer | None) -> None:
    """Adds the change that has led to a pointer to the history, unless it is there; each change is there once.

    Args:
        releases: the folder of all releases.
        live: a pointer that is in force, or was. One that an earlier version wrote says nothing of its change.
    """
    if live is not None and (entry := _missing(releases, live)) is not None and live.change is not None:
        (releases / HISTORY).write_json(f"{live.change.entry}.json", entry)


def history_of(releases: Folder, live: LivePointer | None, last: int) -> list[dict[str, Any]]:
    """The latest entries of the history, newest first, with the change that has led to the live pointer in any case."""
    missing, entries = live and _missing(releases, live), read_history(releases, last)
    if missing:
        entries = sorted([missing, *entries], key=lambda entry: datetime.fromisoformat(entry["at"]), reverse=True)
    return entries[:last]


def _missing(releases: Folder, live: LivePointer) -> dict[str, Any] | None:
    """The entry of the change that has led to a pointer, if the history lacks it."""
    if live.change is None or releases.exists(f"{HISTORY}/{live.change.entry}.json"):
        return None
    return live.change.on(live.as_json())
