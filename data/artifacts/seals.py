"""Sealed folders: folders that are either complete or, for every reader, not there.

Datasets, checkpoints and releases are sealed folders. Each is built under a temporary name beside its target and then
moved there. Its manifest, which lists the sha256 of every file, is written last. Readers treat a folder without a
manifest as missing.
"""

import hashlib
import logging
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

from pyarrow import fs

from data.artifacts.errors import UserError
from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.json_text import mapping, parsed
from data.artifacts.replacing import copy_file, is_partial

logger = logging.getLogger(__name__)


class NotSealed(UserError, FileNotFoundError):
    """A folder is missing or half-written, or its files differ from those in its manifest."""


@contextmanager
def sealing(target: Folder, manifest: dict[str, Any]) -> Iterator[Folder]:
    """Builds a sealed folder: yields an empty folder to fill, then seals it and moves it to `target`.

    If the block raises, nothing is left of the folder. If something else has sealed `target` by then, it is replaced;
    whatever fails then, one of the two is whole: at `target`, or beside it, from where `finish` completes it.
    Files that a killed worker has not completed are no part of it: the worker that does its work again writes them.

    Args:
        target: where the sealed folder goes.
        manifest: the content of the manifest; the block may add keys to it. When the block ends, `files` (sha256 by
            file name) and `fingerprint` (of all files) are added. Keys keep their order, which is that of weights for
            features, contexts and goals.
    """
    earlier = [] if target.is_local else _beside(target)
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
        else:
            _copy(staging, target, sealed)
            for superseded in earlier:
                remove_sealed(superseded)
        manifest.update(sealed)
    finally:
        if _is_only_copy(staging, target):
            said = "%s: not replaced completely; keep %s, which has all of its files, and run the command again"
            logger.warning(said, target, staging)
        else:
            remove_sealed(staging)


def whole_copy(target: Folder) -> Folder | None:
    """Where a sealed folder lies whole whose replacement was interrupted; None where none was."""
    return next((copy for copy in _beside(target) if _is_only_copy(copy, target)), None)


def finish(target: Folder) -> bool:
    """Completes a sealed folder whose replacement was interrupted; returns whether there was one to complete.

    Raises:
        NotSealed: a file of its whole copy has changed.
    """
    if (copy := whole_copy(target)) is None:
        return False
    sealed = copy.read_json(MANIFEST)
    verify_files(copy, sealed, sealed["files"])
    if target.is_local:
        _replace(copy, target)
    else:
        _copy(copy, target, sealed)
        remove_sealed(copy)
    return True


def leftovers(parent: Folder, older_than_s: float) -> list[Folder]:
    """Temporary folders in `parent` that killed processes left behind, but for those that `finish` needs.

    Args:
        older_than_s: only folders in which nothing has changed for longer than this, in seconds. One of which nobody
            can tell, such as an empty folder on an object store, stays.
    """
    folders = (info for info in parent.entries() if info.type == fs.FileType.Directory)
    temporary = (i for i in folders if i.base_name[:1] == "." and i.base_name.endswith((".partial", ".old")))
    changed = ((parent / info.base_name, _last_change(parent, info)) for info in temporary)
    old = (folder for folder, at in changed if at is not None and time.time() - at > older_than_s)
    return [folder for folder in old if not _is_only_copy(folder, _target_of(folder))]


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
    try:
        content = folder.read_bytes(MANIFEST)
        manifest = parsed(content, f"{folder}/{MANIFEST}", mapping, f"the manifest of a {kind}", _cure(kind))
    except (FileNotFoundError, NotADirectoryError) as e:  # also one that is removed just now
        raise NotSealed(f"{folder}: no {kind} there (no {MANIFEST}: missing, or not written completely)") from e
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


def _target_of(temporary: Folder) -> Folder:
    """The folder that a temporary one of `sealing` becomes, or was."""
    return replace(temporary, path=f"{_parent(temporary)}/{temporary.name[1:].rsplit('.', 2)[0]}")


def _beside(target: Folder) -> list[Folder]:
    """The temporary folders of a target that have a manifest."""
    parent = replace(target, path=_parent(target))
    names = (info.base_name for info in parent.entries() if info.base_name.startswith(f".{target.name}."))
    return [folder for name in names if _target_of(folder := parent / name) == target and is_sealed(folder)]


def _is_only_copy(temporary: Folder, target: Folder) -> bool:
    """Whether a temporary folder has all that `target` lacks since its replacement was interrupted.

    It is the older one on a disk, where `_replace` moves it aside, and the newer one on an object store (`_copy`).
    """
    ending = ".old" if target.is_local else ".partial"
    return temporary.name.endswith(ending) and is_sealed(temporary) and not is_sealed(target)


def _replace(staging: Folder, target: Folder) -> None:
    """Moves a local folder to its target; an older folder of that name is renamed first and then deleted."""
    old = Path(f"{_parent(target)}/.{target.name}.{uuid.uuid4().hex[:8]}.old")
    if Path(target.path).exists():
        Path(target.path).rename(old)
    Path(staging.path).rename(target.path)
    replace(target, path=str(old)).delete()


def _copy(staging: Folder, target: Folder, sealed: dict[str, Any]) -> None:
    """Copies a folder to its target on an object store, which cannot rename; the manifest comes last.

    An older folder there stays whole until the files that it lacks are there. Before others of its files are
    overwritten, `staging` gets its manifest, and the older folder loses its own: no reader sees parts of both.
    """
    files, there = sealed["files"], set(target.files())
    copy_files(staging, target, [name for name in files if name not in there])
    changed = [name for name in files if name in there and target.sha256(name) != files[name]]
    if changed and is_sealed(target):
        staging.write_json(MANIFEST, sealed, sort_keys=False)
        target.delete_file(MANIFEST)
    copy_files(staging, target, changed)
    target.write_json(MANIFEST, sealed, sort_keys=False)
    for name in there - files.keys():
        target.delete_file(name)


def copy_files(source: Folder, target: Folder, names: Iterable[str]) -> None:
    """Copies files of a folder, several at a time, and creates the folders that they are in."""
    places = {f"{source.path}/{name}": f"{target.path}/{name}" for name in names}
    for parent in {place.rpartition("/")[0] for place in places.values()}:
        target.filesystem.create_dir(parent, recursive=True)
    with ThreadPoolExecutor() as pool:
        list(pool.map(copy_file, places, places.values(), repeat(source.filesystem), repeat(target.filesystem)))
