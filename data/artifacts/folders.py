"""Folders on any pyarrow filesystem, and the seal that tells a whole one from a half-written one.

Datasets, checkpoints and releases are *sealed folders*: built aside, then moved into place with a manifest, written
last, that lists the sha256 of every file. A folder without a manifest does not exist for any reader.
"""

import fcntl
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs

from data.artifacts.errors import ConfigError

MANIFEST = "manifest.json"


@dataclass(kw_only=True, slots=True)
class StorageConfig:
    """Where every artifact lies: a local path or any pyarrow filesystem URI (s3://, gs://, ...)."""

    root: str = "./var"


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder by filesystem and path; `Folder.of(uri) / "name"` reads like pathlib."""

    filesystem: fs.FileSystem
    path: str

    @classmethod
    def of(cls, uri: str) -> "Folder":
        """Opens a URI or a local path (made absolute). Nothing is created."""
        if "://" not in uri:
            uri = str(Path(uri).expanduser().absolute())
        try:
            filesystem, path = fs.FileSystem.from_uri(uri)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as e:
            raise ConfigError(f"storage location {uri!r}: not a path or URI that pyarrow opens ({e})") from e
        return cls(filesystem, path.rstrip("/"))

    def __truediv__(self, name: str) -> "Folder":
        return Folder(self.filesystem, f"{self.path}/{name}")

    def __str__(self) -> str:
        return self.path if self.is_local else f"{self.filesystem.type_name}://{self.path}"

    @property
    def name(self) -> str:
        return self.path.rsplit("/", 1)[-1]

    @property
    def is_local(self) -> bool:
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def create(self) -> "Folder":
        self.filesystem.create_dir(self.path, recursive=True)
        return self

    def delete(self) -> None:
        if self.filesystem.get_file_info(self.path).type == fs.FileType.Directory:
            self.filesystem.delete_dir(self.path)

    def exists(self, name: str) -> bool:
        return self.filesystem.get_file_info(f"{self.path}/{name}").type != fs.FileType.NotFound

    def subfolders(self) -> list["Folder"]:
        """Direct subfolders, by name; hidden ones (being built) left out."""
        infos = self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        names = sorted(i.base_name for i in infos if i.type == fs.FileType.Directory)
        return [self / name for name in names if not name.startswith(".")]

    def files(self) -> list[str]:
        """All files below, as sorted relative paths, manifest left out."""
        infos = self.filesystem.get_file_info(fs.FileSelector(self.path, recursive=True, allow_not_found=True))
        names = (i.path.removeprefix(self.path).lstrip("/") for i in infos if i.type == fs.FileType.File)
        return sorted(name for name in names if name != MANIFEST)

    def num_bytes(self) -> int:
        """Of all files below."""
        infos = self.filesystem.get_file_info(fs.FileSelector(self.path, recursive=True, allow_not_found=True))
        return sum(info.size for info in infos if info.type == fs.FileType.File)

    def read_bytes(self, name: str) -> bytes:
        with self.filesystem.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            return stream.read()

    def write_bytes(self, name: str, content: bytes) -> None:
        """Writes one file so that readers see the old or the new content, never a part."""
        target = f"{self.path}/{name}"
        if not self.is_local:
            with self.filesystem.open_output_stream(target, compression=None) as stream:
                stream.write(content)
            return
        aside = Path(f"{target}.{uuid.uuid4().hex}.partial")
        aside.parent.mkdir(parents=True, exist_ok=True)
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(target)

    def share(self, name: str, of: "Folder") -> None:
        """Has a file of another folder here too, which nobody may write to: by a hard link, or else as a copy."""
        if self.is_local and of.is_local:
            Path(self.path, name).parent.mkdir(parents=True, exist_ok=True)
            with suppress(OSError):  # other disks, or a filesystem without links
                os.link(f"{of.path}/{name}", f"{self.path}/{name}")
                return
        fs.copy_files(f"{of.path}/{name}", f"{self.path}/{name}", of.filesystem, self.filesystem)

    def read_json(self, name: str) -> Any:
        return json.loads(self.read_bytes(name))

    def write_json(self, name: str, value: Any) -> None:
        self.write_bytes(name, (json.dumps(value, indent=2, sort_keys=True) + "\n").encode())

    def read_table(self, name: str) -> pa.Table:
        return pq.read_table(f"{self.path}/{name}", filesystem=self.filesystem)

    def write_table(self, name: str, table: pa.Table) -> None:
        self.filesystem.create_dir(f"{self.path}/{name}".rsplit("/", 1)[0], recursive=True)
        pq.write_table(table, f"{self.path}/{name}", filesystem=self.filesystem)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """One process at a time holds a lock of this name in here; an object store has no locks, and lets all go on."""
        if not self.is_local:
            yield
            return
        with (Path(self.create().path) / f"{name}.lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def sha256(self, name: str) -> str:
        digest = hashlib.sha256()
        with self.filesystem.open_input_stream(f"{self.path}/{name}", compression=None) as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
        return digest.hexdigest()
