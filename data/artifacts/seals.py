"""Sealed folders: folders that are either complete or, for every reader, not there.

Datasets, checkpoints and releases are sealed folders. Each is built under a temporary name beside its target and then
moved there. Its manifest, which lists the sha256 of every file, is written last. Readers treat a folder without a
manifest as missing.
"""

import hashlib
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pyarrow import fs

from data.artifacts.errors import UserError
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.json_text import mapping, parsed
from data.artifacts.replacing import is_partial


class NotSealed(UserError, FileNotFoundError):
    """A folder is missing or half-written, or its files differ from those in its manifest."""


@contextmanager
def sealing(target: Folder, manifest: dict[str, Any]) -> Iterator[Folder]:
    """Builds a sealed folder: yields an empty folder to fill, then seals it and moves it to `target`.

    If the block raises, nothing is left of the folder. If something else has sealed `target` by then, it is replaced.
    Files that a killed worker has not completed are no part of it: the worker that does its work again writes them.

    Args:
        target: where the sealed folder goes.
        manifest: the content of the manifest; the block may add keys to it. When the block ends, `files` (sha256 by
            file name) and `fingerprint` (of all files) are added. Keys keep their order, which is that of weights for
            features, contexts and goals.
    """
    staging = replace(target, path=f"{_parent(target)}/.{target.name}.{uuid.uuid4().hex[:8]}.partial").create()
    try:
        yield staging
        for name in filter(is_partial, staging.files()):
            staging.delete_file(name)
        files = {name: staging.sha256(name) for name in staging.files()}
        sealed = {**manifest, "files": files, "fingerprint": fingerprint(files)}
        if target.is_local:
            staging.write_json(MANIFEST, sealed, sort_keys=False)
            _replace(staging, target)
        else:  # an object store cannot rename: the copy is complete once its manifest is there, which is written last
            if is_sealed(target):
                remove_sealed(target)  # no reader may see parts of both
            fs.copy_files(staging.path, target.path, staging.filesystem, target.filesystem)
            target.write_json(MANIFEST, sealed, sort_keys=False)
        manifest.update(sealed)
    finally:
        staging.delete()


def leftovers(parent: Folder, older_than_s: float) -> list[Folder]:
    """Temporary folders in `parent` that killed processes left behind.

    Args:
        older_than_s: only folders in which nothing has changed for longer than this, in seconds. One of which nobody
            can tell, such as an empty folder on an object store, stays.
    """
    folders = [info for info in parent.entries() if info.type == fs.FileType.Directory]
    temporary = [i for i in folders if i.base_name.startswith(".") and i.base_name.endswith((".partial", ".old"))]
    changed = ((parent / info.base_name, _last_change(parent, info)) for info in temporary)
    return [folder for folder, at in changed if at is not None and time.time() - at > older_than_s]


def _last_change(parent: Folder, info: fs.FileInfo) -> float | None:
    """When a folder or anything below it was last changed, in Unix seconds; an object store dates files alone."""
    dated = [info, *(parent / info.base_name).entries(recursive=True)]
    return max((one.mtime.timestamp() for one in dated if one.mtime is not None), default=None)


def fingerprint(files: dict[str, str]) -> str:
    """One sha256 digest over file names and their digests: folders with equal files have equal fingerprints.

    Args:
        files: sha256 by file name.
    """
    return hashlib.sha256("\n".join(f"{name} {files[name]}" for name in sorted(files)).encode()).hexdigest()


def is_sealed(folder: Folder) -> bool:
    """Whether the folder is there and complete."""
    return folder.exists(MANIFEST)


def remove_sealed(folder: Folder) -> None:
    """Deletes a folder, its manifest first, so that no reader sees a part of it."""
    folder.delete_file(MANIFEST)
    folder.delete()


def open_sealed(folder: Folder, kind: str, *, verify: bool = False) -> dict[str, Any]:
    """The manifest of a sealed folder.

    Args:
        kind: what the folder must hold: "dataset", "checkpoint" or "release".
        verify: also compute each file's sha256 and compare it with the manifest.

    Raises:
        NotSealed: there is no complete folder of this kind, or (with `verify`) a file is not the one that was sealed.
    """
    if not is_sealed(folder):
        raise NotSealed(f"{folder}: no {kind} there (no {MANIFEST}: missing, or not written completely)")
    try:
        content = folder.read_bytes(MANIFEST)
        manifest = parsed(content, f"{folder}/{MANIFEST}", mapping, f"the manifest of a {kind}", _cure(kind))
    except ValueError as e:
        raise NotSealed(str(e)) from e
    if manifest.get("kind") != kind:
        raise NotSealed(f"{folder}: holds a {manifest.get('kind')!r}, not a {kind!r}")
    if verify:
        files = manifest.get("files")
        if not isinstance(files, dict):
            raise NotSealed(f"{folder}/{MANIFEST}: does not say which files the {kind} has; {_cure(kind)}")
        verify_files(folder, manifest, files)
    return manifest


def _cure(kind: str) -> str:
    return f"restore the file, or remove the folder if the {kind} is not needed"


def named_in(folder: Folder | None, place: str) -> Folder:
    """The folder at a place that an artifact in `folder` names as text, without the options and secrets of a URI.

    In the bucket of `folder`, it is opened as that one was: by the same endpoint and with the same credentials. Without
    a `folder` it is opened by its text alone.
    """
    if folder is None:
        return Folder.of(place)
    store = f"{folder.filesystem.type_name}://"
    if folder.is_local or "?" in place or not place.startswith(f"{store}{folder.path.partition('/')[0]}/"):
        return Folder.of(place)
    return replace(folder, path=place.removeprefix(store).rstrip("/"))


def verify_files(folder: Folder, manifest: dict[str, Any], names: Iterable[str]) -> None:
    """Computes the sha256 of these files of a sealed folder and compares it with the manifest.

    Raises:
        NotSealed: one is not the file that was sealed.
    """
    for name in names:
        if not folder.exists(name) or folder.sha256(name) != manifest["files"].get(name):
            kind = manifest.get("kind")
            raise NotSealed(f"{folder}/{name}: missing or changed since the {kind} was sealed (sha256 differs)")


def _parent(folder: Folder) -> str:
    return folder.path.rsplit("/", 1)[0]


def _replace(staging: Folder, target: Folder) -> None:
    """Moves a local folder to its target; an older folder of that name is renamed first and then deleted."""
    old = Path(f"{_parent(target)}/.{target.name}.{uuid.uuid4().hex[:8]}.old")
    if Path(target.path).exists():
        Path(target.path).rename(old)
    Path(staging.path).rename(target.path)
    replace(target, path=str(old)).delete()
