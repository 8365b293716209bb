"""Folders on a local disk or an object store, with the operations that artifacts need."""

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from data.artifacts.conditional_writes import Version, conditional_writes, opened, refuse_half_a_uri
from data.artifacts.errors import NotAFolder
from data.artifacts.json_text import json_text, parsed
from data.artifacts.leases import FileLock, Lock, leased
from data.artifacts.replacing import copy_file, replacing, uploading

MANIFEST = "manifest.json"
"""The file whose presence makes a folder a sealed one, see data/artifacts/seals.py."""


@dataclass(kw_only=True, slots=True)
class StorageConfig:
    """Where all artifacts are kept.

    Attributes:
        root: a local path, or a URI of a filesystem that pyarrow knows (s3://, gs://, ...).
    """

    root: str = "./var"

    def __post_init__(self) -> None:
        refuse_half_a_uri(self.root)


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder (or file) on a filesystem; `Folder.of(uri) / "name"` is one below it, as with pathlib."""

    filesystem: fs.FileSystem
    path: str
    uri: str = field(default="", compare=False, repr=False)
    """The URI that the filesystem was opened by, with its options; of no meaning for a disk."""

    @classmethod
    def of(cls, uri: str) -> "Folder":
        """The folder at a URI or a local path. It need not exist, and is not created.

        Raises:
            ConfigError: pyarrow knows no such filesystem, or the URI lacks a slash.
            StorageUnavailable: its store does not answer.
        """
        refuse_half_a_uri(uri)
        if "://" not in uri:
            uri = str(Path(uri).expanduser().absolute())
        filesystem, path = opened(uri)
        return cls(filesystem, path.rstrip("/"), uri)

    def __truediv__(self, name: str) -> "Folder":
        return replace(self, path=f"{self.path}/{name}")

    def __str__(self) -> str:
        return self.path if self.is_local else f"{self.filesystem.type_name}://{self.path}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a disk of this machine, where files can be renamed, linked and locked."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def create(self) -> "Folder":
        """Creates the folder, and those above it, unless it exists."""
        self.filesystem.create_dir(self.path, recursive=True)
        return self

    def delete(self) -> None:
        """Deletes the folder with all that is in it, if it exists."""
        if self.filesystem.get_file_info(self.path).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.path)

    def exists(self, name: str) -> bool:
        """Whether there is a file or folder of this name in the folder."""
        return self.filesystem.get_file_info(f"{self.path}/{name}").type != fs.FileType.NotFound

    def subfolders(self) -> list["Folder"]:
        """The folders in this folder, sorted by name, without hidden ones (which are being built)."""
        names = sorted(i.base_name for i in self.entries() if i.type == fs.FileType.Directory)
        return [self / name for name in names if not name.startswith(".")]

    def files(self) -> list[str]:
        """The relative paths of all files in this folder and below, sorted, without the manifest."""
        names = (i.path.removeprefix(self.path).lstrip("/") for i in self.entries(recursive=True) if i.is_file)
        return sorted(name for name in names if name != MANIFEST)

    def names(self) -> list[str]:
        """The names of the files that lie directly in this folder, sorted."""
        return sorted(i.base_name for i in self.entries() if i.is_file)

    def num_bytes(self) -> int:
        """Total size of all files in this folder and below."""
        return sum(info.size for info in self.entries(recursive=True) if info.is_file)

    def entries(self, recursive: bool = False) -> list[fs.FileInfo]:
        """What lies in this folder, and below it if `recursive`; nothing if there is no such folder."""
        try:
            return self.filesystem.get_file_info(fs.FileSelector(self.path, recursive=recursive, allow_not_found=True))
        except NotADirectoryError as e:
            raise NotAFolder(f"{self}: is a file, and should be a folder; move it away") from e

    def read_bytes(self, name: str) -> bytes:
        """The content of a file, not decompressed."""
        with self.filesystem.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            return stream.read()

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes a file so that readers see either the old content or the new one, and never a part of it."""
        if not self.is_local:
            with self.filesystem.open_output_stream(f"{self.path}/{name}", compression=None) as stream:
                stream.write(content)
            return
        with replacing(Path(self.path, name)) as partial:
            partial.write_bytes(content)

    def delete_file(self, name: str) -> None:
        """Deletes a file, if it exists."""
        with suppress(FileNotFoundError):
            self.filesystem.delete_file(f"{self.path}/{name}")

    def share(self, name: str, of: "Folder") -> None:
        """Puts a file of the folder `of` into this one too: as a hard link if possible, otherwise as a copy.

        Nothing may write to the file afterwards, because both folders may hold the same one.
        """
        if self.is_local and of.is_local:
            Path(self.path, name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # the folders are on different disks, or the filesystem has no links
                os.link(f"{of.path}/{name}", f"{self.path}/{name}")
                return
        copy_file(f"{of.path}/{name}", f"{self.path}/{name}", of.filesystem, self.filesystem)

    def read_json(self, name: str) -> Any:
        """The value in a JSON file; raises DamagedFile, with its path, where it holds none."""
        return parsed(self.read_bytes(name), f"{self}/{name}", lambda value: value)

    def write_json(self, name: str, value: Any, sort_keys: bool = True) -> None:
        """Writes a value as JSON, like `write_bytes`; numbers that are not finite become null."""
        self.write_bytes(name, json_bytes(value, sort_keys))

    def read_table(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The table in a Parquet file, or some of its columns."""
        return pq.read_table(f"{self.path}/{name}", filesystem=self.filesystem, columns=columns and list(columns))

    def read_groups(self, name: str) -> Iterator[pa.Table]:
        """The row groups of a Parquet file, one after the other."""
        with pq.ParquetFile(f"{self.path}/{name}", filesystem=self.filesystem) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group)

    def read_schema(self, name: str) -> pa.Schema:
        """The schema of a Parquet file, with the metadata that it was written with."""
        return pq.read_schema(f"{self.path}/{name}", filesystem=self.filesystem)

    def write_table(self, name: str, table: pa.Table, **options: Any) -> None:
        """Writes a table as Parquet, so that readers see all of the file or nothing; creates the folders above it.

        Args:
            options: of `pyarrow.parquet.ParquetWriter`.
        """
        if self.is_local:
            self.write_tables(name, table.schema, [table], **options)
            return
        self.filesystem.create_dir(f"{self.path}/{name}".rsplit("/", 1)[0], recursive=True)
        _write(f"{self.path}/{name}", table.schema, [table], filesystem=self.filesystem, **options)

    def write_tables(self, name: str, schema: pa.Schema, tables: Iterable[pa.Table], **options: Any) -> None:
        """Writes tables one by one as one Parquet file, or nothing if `tables` raises; one at a time is in memory."""
        at = f"{self.path}/{name}"
        with replacing(Path(at)) if self.is_local else uploading(self.filesystem, at) as partial:
            _write(partial, schema, tables, **options)

    def read_versioned(self, name: str) -> tuple[bytes, Version] | None:
        """The content of a file and the version for `replace_if`; None where there is no such file."""
        if not self.is_local:
            return conditional_writes(self.uri).read(f"{self.path}/{name}")
        if not self.exists(name):
            return None
        content = self.read_bytes(name)
        return content, {"e_tag": hashlib.sha256(content).hexdigest()}

    def replace_if(self, version: Version | None, name: str, content: bytes) -> bool:
        """Writes a file if it still is the one that `read_versioned` found; None: if it still does not exist.

        On an object store the check and the write are one step. On a disk they are two: hold a lock (`locked`).

        Returns:
            Whether the file was written; if not, another process has written it in between, and nothing has changed.
        """
        if not self.is_local:
            store, path = conditional_writes(self.uri), f"{self.path}/{name}"
            written = store.create(path, content) if version is None else store.replace(path, content, version)
            return written is not None
        if ((found := self.read_versioned(name)) and found[1]) != version:
            return False
        self.write_bytes(name, content)
        return True

    @contextmanager
    def locked(self, name: str) -> Iterator[Lock]:
        """Holds the lock of this name as long as the block runs; other processes wait for it.

        It is a lock on a file, or a lease on an object store; before what only its holder may do, call its `require`.

        Raises:
            ConfigError: the filesystem has neither locks nor conditional writes.
        """
        if not self.is_local:
            with leased(conditional_writes(self.uri), f"{self.path}/{name}.lock") as lease:
                yield lease
            return
        with (Path(self.create().path) / f"{name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield FileLock()

    def sha256(self, name: str) -> str:
        """The sha256 digest of a file, in hexadecimal digits."""
        with self.filesystem.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()


def _write(where: Path | str, schema: pa.Schema, tables: Iterable[pa.Table], **options: Any) -> None:
    with pq.ParquetWriter(where, schema, **options) as file:
        for table in tables:
            file.write_table(table.cast(schema))


def json_bytes(value: Any, sort_keys: bool = True) -> bytes:
    """A JSON file's content; numbers that are not finite become null."""
    return (json_text(value, indent=2, sort_keys=sort_keys) + "\n").encode()
