"""The notes of files of recommendations: without which items, and without which users' histories, they were made.

A command that goes on after an interruption, or is run again, makes those files anew that would be made without others
now: items were recalled or restored since, or users of the file were forgotten. It keeps all other files.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from data.artifacts.folders import Folder

NOTE = "twotower.made_without"
"""The name of the note in the metadata of a file."""


@dataclass(frozen=True, slots=True)
class MadeWithout:
    """What a file was made without. A file without a note was made without nothing.

    Attributes:
        denied: The items that were not to be recommended, sorted.
        forgotten: A digest of the users of the file who were forgotten; empty where none was.
    """

    denied: tuple[str, ...] = ()
    forgotten: str = ""

    @classmethod
    def of(cls, user_ids: pa.Array, denylist: Sequence[str], forgotten: Sequence[str]) -> "MadeWithout":
        """The note of a file of these users.

        Args:
            denylist: The items that are not to be recommended, sorted.
            forgotten: The users who were forgotten, in this file and others.
        """
        ids = user_ids.cast(pa.string())
        gone = sorted(ids.filter(pc.is_in(ids, value_set=pa.array(forgotten, pa.string()))).to_pylist())
        return cls(tuple(denylist), hashlib.sha256(json.dumps(gone).encode()).hexdigest() if gone else "")

    @classmethod
    def of_file(cls, folder: Folder, name: str) -> "MadeWithout":
        """The note of a file; raises ArrowInvalid where it is no Parquet file."""
        note = (folder.read_schema(name).metadata or {}).get(NOTE.encode())
        if note is None:
            return cls()
        values = json.loads(note)
        return cls(tuple(values["denied"]), values["forgotten"])

    @property
    def metadata(self) -> dict[str, str]:
        """The note as metadata of a table."""
        return {NOTE: json.dumps({"denied": self.denied, "forgotten": self.forgotten})}


def parts_of(user_ids: pa.Array, part_size: int) -> dict[str, pa.Array]:
    """The users of each file, by its name."""
    starts = range(0, len(user_ids), part_size)
    return {f"part-{number:05d}.parquet": user_ids.slice(start, part_size) for number, start in enumerate(starts)}


def files_to_make(
    folder: Folder, parts: Mapping[str, pa.Array], denylist: Sequence[str], forgotten: Sequence[str] | None
) -> list[str]:
    """The names of the files that are missing, or say something that they must not say any more.

    These have a user who was forgotten since, or an item that was recalled since, or lack items that may come again.

    Args:
        folder: Where the files are.
        parts: The users of each file.
        denylist: The items that are not to be recommended, sorted.
        forgotten: The users who were forgotten; None where nobody was asked, which brings nobody back.
    """
    there = set(folder.names())

    def is_current(name: str) -> bool:
        now = MadeWithout.of(parts[name], denylist, forgotten or ())
        return _is_current(folder, name, now, asked=forgotten is not None)

    return [name for name in parts if name not in there or not is_current(name)]


def _is_current(folder: Folder, name: str, now: MadeWithout, asked: bool) -> bool:
    try:
        made = MadeWithout.of_file(folder, name)
    except pa.ArrowInvalid:  # it was damaged, and is made anew
        return False
    now = now if asked else replace(now, forgotten=made.forgotten)
    if made == now:
        return True
    if made.forgotten != now.forgotten or not set(made.denied) <= set(now.denied):
        return False
    recalled = pa.array(sorted(set(now.denied).difference(made.denied)), pa.string())
    items = folder.read_table(name, ["item_ids"])["item_ids"].combine_chunks().flatten()
    has_any = pc.any(pc.is_in(items, value_set=recalled))
    return not has_any.as_py()
