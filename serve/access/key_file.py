"""Where the records of keys are kept: a file on any filesystem, or the environment variable API_KEYS.

{"keys": [{"id": "...", "name": "shop", "sha256": "...", "scopes": ["recommend"], ...}]}
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.artifacts.errors import ConfigError, UserError, one_line
from data.artifacts.folders import Folder
from data.artifacts.json_text import json_text
from data.artifacts.records.updates import update_file
from serve.access.config import AuthConfig, KeyConfig
from serve.access.keys import KeyRecord, mint

VARIABLE = "API_KEYS"
"""Environment variable with the content of a file of keys, which then is not read."""


class KeyFileError(UserError, ValueError):
    """A file of keys, or the variable in its place, cannot be used."""


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A file with the records of keys."""

    folder: Folder
    name: str

    @classmethod
    def of(cls, location: str) -> "KeyFile":
        """The file at a path or a URI; it need not exist."""
        above, separator, name = location.rpartition("/")
        return cls(Folder.of(above or ("/" if separator else ".")), name)

    def __str__(self) -> str:
        return f"{self.folder}/{self.name}"

    def exists(self) -> bool:
        """Whether there is such a file; raises KeyFileError where the storage does not say so."""
        with self._usable("read"):
            return self.folder.exists(self.name)

    def read(self) -> list[KeyRecord]:
        """The records; none where there is no such file.

        Raises:
            KeyFileError: it is no file of keys, or cannot be read.
        """
        if not self.exists():
            return []
        with self._usable("read"):
            content = self.folder.read_bytes(self.name)
        return parse(content, str(self))

    def update(self, change: Callable[[list[KeyRecord]], list[KeyRecord]]) -> None:
        """Replaces the records by what `change` makes of them, in one atomic step; one change at a time.

        `change` is called again where another process has replaced the file meanwhile: no change is ever lost. Fields
        that a later version has added to records stay.

        On a local disk, nobody but the owner may read the file.

        Raises:
            KeyFileError: the file is no file of keys, or cannot be changed.
            LeaseLost: on an object store, this process was stopped in the middle, and another one went on.
        """

        def changed(content: bytes | None) -> bytes:
            records = change([] if content is None else parse(content, str(self)))
            found = {} if content is None else {value["id"]: value for value in json.loads(content)["keys"]}
            values = [{**found.get(record.id, {}), **record.as_json()} for record in records]
            return (json_text({"keys": values}, indent=2) + "\n").encode()

        with self._usable("changed"), self.folder.create().locked(f".{self.name}") as lock:
            update_file(self.folder, self.name, changed, lock)
            if self.folder.is_local:
                Path(self.folder.path, self.name).chmod(0o600)

    @contextmanager
    def _usable(self, done: str) -> Iterator[None]:
        """Turns the errors of the storage into KeyFileError, in words for what was to be done with the file."""
        try:
            yield
        except OSError as e:
            raise KeyFileError(
                f"auth.file: {self} cannot be {done} ({one_line(e)}); name a file that this process may use"
            ) from e

    def add(self, name: str, config: KeyConfig, before: Callable[[], object] = lambda: None) -> str:
        """Makes a key, adds its record, and returns the key, which is nowhere else.

        Args:
            before: is called when nothing speaks against it, before the file changes; again where another process has
                changed the file meanwhile.

        Raises:
            ConfigError: the name cannot be one, or is that of another key.
            KeyFileError: the file is no file of keys.
        """
        key, record = mint(name, config)

        def with_it(records: list[KeyRecord]) -> list[KeyRecord]:
            if any(other.name == name for other in records):
                raise ConfigError(f"mint: {name!r} is the name of a key already; revoke that, or take another name")
            before()
            return [*records, record]

        self.update(with_it)
        return key

    def remove(self, name: str, before: Callable[[], object] = lambda: None) -> None:
        """Removes the record of a key, which is then refused.

        Args:
            before: as for `add`.

        Raises:
            ConfigError: there is no key of this name.
            KeyFileError: the file is no file of keys.
        """

        def without_it(records: list[KeyRecord]) -> list[KeyRecord]:
            rest = [record for record in records if record.name != name]
            if len(rest) == len(records):
                known = ", ".join(record.name for record in records) or "none"
                raise ConfigError(f"revoke: {name!r} is the name of no key in {self} (there are: {known})")
            before()
            return rest

        self.update(without_it)


def parse(text: str | bytes, source: str) -> list[KeyRecord]:
    """Reads the content of a file of keys.

    Args:
        source: where it is from, for messages.

    Raises:
        KeyFileError: it is no such content.
    """
    try:
        content: Any = json.loads(text)
        records = [KeyRecord.of_json(value) for value in content["keys"]]
    except (ValueError, KeyError, TypeError, RecursionError) as e:
        raise KeyFileError(f"{source}: not a file of keys ({e}); python -m serve.keys makes one") from e
    for what in ("id", "name"):
        values = [getattr(record, what) for record in records]
        if twice := next((value for value in values if values.count(value) > 1), None):
            raise KeyFileError(f"{source}: {twice!r} is the {what} of two keys; remove one")
    return records


def read_records(config: AuthConfig) -> list[KeyRecord]:
    """The records that count: those of API_KEYS or, where it is not set, those of the file.

    Raises:
        KeyFileError: they cannot be read, or there is no such file. (A storage that is gone revokes no key.)
    """
    if (text := os.environ.get(VARIABLE)) is not None:
        return parse(text, VARIABLE)
    file = KeyFile.of(config.file)
    if not file.exists():
        raise KeyFileError(f"auth.file: {file} does not exist; make a key by python -m serve.keys mint=NAME")
    return file.read()


def require_keys(config: AuthConfig) -> None:
    """Raises KeyFileError where there is no key, or where the keys cannot be read."""
    if not read_records(config):
        source = VARIABLE if VARIABLE in os.environ else f"auth.file: {KeyFile.of(config.file)}"
        raise KeyFileError(f"{source}: there is no key; make one by python -m serve.keys mint=NAME")
