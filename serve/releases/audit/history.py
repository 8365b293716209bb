"""The history: a file for each operation on releases, keys and approvals, with who did it and by which command.

A change of what serves is recorded with the pointer as it was afterwards; other operations with what they did.
"""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any

from rich.table import Table

from data.artifacts.folders import Folder
from data.artifacts.json_text import mapping
from data.artifacts.operators import operator, running_command
from data.artifacts.records.json_files import read_or_left_out
from serve.experiments.assignment import in_percent

HISTORY = ".history"
"""Folder of the history below that of the releases; its files are named by their time."""

OF_EVERY_ENTRY = {"at", "by", "command"}
"""Fields that every entry has beside what was done; they have columns of their own in the table."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """When, by whom and by which command something was done.

    Attributes:
        entry: the name of its entry in the history, without the ending.
        at: ISO timestamp, in UTC.
        by: the operator.
        command: the command with its overrides; empty where none runs.
    """

    entry: str
    at: str
    by: str
    command: str

    @classmethod
    def now(cls) -> "Stamp":
        """That of something that this process does now."""
        moment = datetime.now(UTC)
        entry = f"{moment.isoformat(timespec='microseconds')}-{uuid.uuid4().hex[:8]}"
        return cls(entry, moment.isoformat(timespec="milliseconds"), operator(), running_command())

    def on(self, what: Mapping[str, Any]) -> dict[str, Any]:
        """The content of the entry that says this of something."""
        return {**what, "at": self.at, "by": self.by, "command": self.command}


def record(folder: Folder, /, **what: Any) -> None:
    """Adds an entry to the history.

    Args:
        folder: that of all releases.
        what: JSON values that say what was done.
    """
    record_stamped(folder, Stamp.now(), what)


def record_stamped(folder: Folder, stamp: Stamp, what: Mapping[str, Any]) -> None:
    """Adds the entry of something that was done to the history, unless it is there."""
    if not is_recorded(folder, stamp):
        (folder / HISTORY).write_json(f"{stamp.entry}.json", stamp.on(what))


def is_recorded(folder: Folder, stamp: Stamp) -> bool:
    """Whether the history has the entry of something that was done."""
    return folder.exists(f"{HISTORY}/{stamp.entry}.json")


def read_history(releases: Folder, last: int) -> list[dict[str, Any]]:
    """The latest entries, newest first; those of earlier versions have no `by` and no `command`.

    A damaged one is left out, and named.
    """
    return list(islice(_entries(releases / HISTORY), last))


def has_run(releases: Folder, name: str, since: str) -> bool:
    """Whether an experiment of this name that began at this ISO timestamp, in UTC, has ever had traffic."""
    entries = (entry for entry in _entries(releases / HISTORY, since) if "promoted_at" in entry)
    experiments = (entry.get("experiment") or {} for entry in entries)
    return any((of.get("name"), of.get("since")) == (name, since) for of in experiments)


def rolled_back_because(releases: Folder, release: str, since: str) -> str | None:
    """Why a rollback has taken a release out of service, by the history; None where none has, or it has traffic since.

    Args:
        since: entries from this ISO timestamp on, in UTC, are read.
    """
    for entry in _entries(releases / HISTORY, since):
        if release in (entry.get("rolled_back") or "").split(", "):
            return entry.get("reason") or "without a reason"
        shares = (entry.get("experiment") or {}).get("shares", {})
        if "promoted_at" in entry and (release == entry["release"] or release in shares):
            return None
    return None


def _entries(folder: Folder, since: str = "") -> Iterator[dict[str, Any]]:
    for name in sorted((name for name in folder.names() if name >= since and name.endswith(".json")), reverse=True):
        found = read_or_left_out(folder, name, partial(_entry, name), "an entry of the history", "remove the file")
        if found is not None:
            yield found


def _entry(name: str, value: Any) -> dict[str, Any]:
    """The content of an entry's file, if it can be shown; raises an error such as TypeError or KeyError if not."""
    entry = {"at": name.removesuffix(".json"), "by": "", "command": ""} | mapping(value)
    datetime.fromisoformat(entry["at"])
    describe(entry)
    return entry | {key: str(entry[key]) for key in ("by", "command")}


def history_table(entries: list[dict[str, Any]]) -> Table:
    """The entries of `read_history` as a table."""
    table = Table(title="history, newest first")
    for column in ("when", "who", "command", "what"):
        table.add_column(column, no_wrap=column == "when")
    for entry in entries:
        at = datetime.fromisoformat(entry["at"]).astimezone(UTC)
        table.add_row(f"{at:%Y-%m-%d %H:%M:%S}", entry["by"], entry["command"], describe(entry))
    return table


def describe(entry: dict[str, Any]) -> str:
    """What an entry says was done."""
    if "promoted_at" not in entry:  # not a pointer
        return ", ".join(f"{name}: {_text(value)}" for name, value in entry.items() if name not in OF_EVERY_ENTRY)
    parts = [f"live: {entry['release']}"]
    if experiment := entry.get("experiment"):
        parts += [f"{in_percent(share)} {id_}" for id_, share in experiment["shares"].items()]
    parts += [
        f"{says}: {_text(entry[name])}"
        for name, says in (("rolled_back", "rolled back"), ("withdrawn", "denylist"))
        if entry.get(name)
    ]
    return ", ".join(parts + ([f"because: {entry['reason']}"] if entry.get("reason") else []))


def _text(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)
