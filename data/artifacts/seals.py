"""Folders on any pyarrow filesystem, and the seal that tells a whole one from a half-written one.

Datasets, checkpoints and releases are *sealed folders*: built aside, then moved into place with a manifest, written
last, that lists the sha256 of every file. A folder without a manifest does not exist for any reader.
"""

import hashlib
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pyarrow import fs

from data.artifacts.errors import UserError
from data.artifacts.folders import MANIFEST, Folder


class NotSealed(UserError, FileNotFoundError):
    """The folder is missing, half-written, or its files are not those of its manifest."""


@contextmanager
def sealing(target: Folder, manifest: dict[str, Any]) -> Iterator[Folder]:
    """Builds a sealed folder: yields an empty folder to fill, then seals it and moves it to `target`.

    Keys may be added to `manifest` until the block ends; `files` (sha256 by name) and `fingerprint` (of all files) are
    added here. Where the block raises, nothing is left. Where `target` was sealed meanwhile, the new one replaces it.
    """
    staging = Folder(target.filesystem, f"{_parent(target)}/.{target.name}.{uuid.uuid4().hex[:8]}.partial").create()
    try:
        yield staging
        files = {name: staging.sha256(name) for name in staging.files()}
        sealed = {**manifest, "files": files, "fingerprint": fingerprint(files)}
        if target.is_local:
            staging.write_json(MANIFEST, sealed)
            _replace(staging, target)
        else:  # an object store has no rename: the manifest, last, makes the copy whole
            fs.copy_files(staging.path, target.path, staging.filesystem, target.filesystem)
            target.write_json(MANIFEST, sealed)
        manifest.update(sealed)
    finally:
        staging.delete()


def leftovers(parent: Folder, older_than_s: float) -> list[Folder]:
    """Folders that `sealing` was building, or replacing, below `parent` when its process died so long ago."""
    infos = parent.filesystem.get_file_info(fs.FileSelector(parent.path, allow_not_found=True))
    dead = [i for i in infos if i.base_name.startswith(".") and i.base_name.endswith((".partial", ".old"))]
    return [parent / i.base_name for i in dead if time.time() - i.mtime.timestamp() > older_than_s]


def fingerprint(files: dict[str, str]) -> str:
    """One sha256 over names and digests: equal content, equal fingerprint."""
    return hashlib.sha256("\n".join(f"{name} {files[name]}" for name in sorted(files)).encode()).hexdigest()


def is_sealed(folder: Folder) -> bool:
    return folder.exists(MANIFEST)


def remove_sealed(folder: Folder) -> None:
    """Removes a folder, its manifest first: no reader ever sees a part."""
    if is_sealed(folder):
        folder.filesystem.delete_file(f"{folder.path}/{MANIFEST}")
    folder.delete()


def open_sealed(folder: Folder, kind: str, *, verify: bool = False) -> dict[str, Any]:
    """Reads the manifest of a sealed folder of this `kind` (dataset, checkpoint, release).

    Args:
        verify: also compare each file's sha256.

    Raises:
        NotSealed: there is no whole folder of this kind there, or (verify) a file is not the one that was sealed.
    """
    if not is_sealed(folder):
        raise NotSealed(f"{folder}: no {kind} there (no {MANIFEST}: missing, or writing it was cut off)")
    try:
        manifest: dict[str, Any] = folder.read_json(MANIFEST)
    except ValueError as e:
        raise NotSealed(f"{folder}/{MANIFEST}: not JSON ({e})") from e
    if manifest.get("kind") != kind:
        raise NotSealed(f"{folder}: holds a {manifest.get('kind')!r}, not a {kind!r}")
    if verify:
        for name, digest in manifest["files"].items():
            if not folder.exists(name) or folder.sha256(name) != digest:
                raise NotSealed(f"{folder}/{name}: missing or changed since the {kind} was sealed (sha256 differs)")
    return manifest


def _parent(folder: Folder) -> str:
    return folder.path.rsplit("/", 1)[0]


def _replace(staging: Folder, target: Folder) -> None:
    """Local move into place; an older folder of the same name steps aside first."""
    old = Path(f"{_parent(target)}/.{target.name}.{uuid.uuid4().hex[:8]}.old")
    if Path(target.path).exists():
        Path(target.path).rename(old)
    Path(staging.path).rename(target.path)
    Folder(target.filesystem, str(old)).delete()
