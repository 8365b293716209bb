"""Changes of the live pointer in the history, also those of a process that was killed before it could add them.

The pointer itself says who changed it, when, by which command, and under which name the history has that (`Stamp`). So
whoever changes or reads it next can tell whether the entry is there, and knows all that it should say.
"""

from contextlib import suppress
from datetime import datetime
from typing import Any

from data.artifacts.folders import Folder
from serve.releases.audit.approvals import Approvals
from serve.releases.audit.history import is_recorded, read_history, record_stamped
from serve.releases.audit.publications import missing_publications
from serve.releases.pointer import LivePointer


def record_changes(releases: Folder, *pointers: LivePointer | None) -> None:
    """Adds the changes that have led to these pointers to the history, unless they are there; each is there once.

    Args:
        releases: the folder of all releases.
        pointers: the one that is in force, or was. One that an earlier version wrote says nothing of its change.
    """
    for live in pointers:
        if live is not None and live.change is not None:
            record_stamped(releases, live.change, live.as_json())


def try_to_record(releases: Folder, live: LivePointer | None) -> None:
    """As `record_changes`, before another change: a history that cannot be written to must not keep a rollback back."""
    with suppress(OSError):
        record_changes(releases, live)


def history_of(releases: Folder, live: LivePointer | None, last: int) -> list[dict[str, Any]]:
    """The latest entries of the history, newest first.

    The change that has led to the live pointer is there in any case, and so are approvals and publications whose
    process was killed.
    """
    missing, entries = [*Approvals(releases).missing(), *missing_publications(releases)], read_history(releases, last)
    if live is not None and live.change is not None and not is_recorded(releases, live.change):
        missing.append(live.change.on(live.as_json()))
    if missing:
        entries = sorted([*missing, *entries], key=lambda entry: datetime.fromisoformat(entry["at"]), reverse=True)
    return entries[:last]
