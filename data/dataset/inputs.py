"""The input files of a dataset: their state when it was prepared, and whether they have changed since."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from omegaconf.errors import OmegaConfBaseException
from pyarrow import fs

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from data.artifacts.records.ahead import ahead
from data.artifacts.secrets import MASK
from data.dataset.prepared import PreparedDataset
from data.sources.settings import source_of

State = list[Any]
"""Path, size in bytes and time of the last change in ns, as JSON values."""

FEW = 3
"""Up to so many files of a folder on an object store are looked up one by one, and more of them by a listing of it."""

SECOND_NS = 1_000_000_000


def input_states(paths: Iterable[str]) -> list[State]:
    """Path, size in bytes and time of the last change in ns of each file, as JSON values; null where it is missing."""
    by_folder: dict[str, list[tuple[str, Folder]]] = defaultdict(list)
    paths = list(paths)
    for path, place in zip(paths, _places(paths), strict=True):
        by_folder[_folder_of(path)].append((path, place))
    states = {state[0]: state for of_folder in ahead(_states, by_folder.values()) for state in of_folder}
    return [states[path] for path in paths]


def _places(paths: Sequence[str]) -> list[Folder]:
    """The places of paths and URIs. Those of one bucket share a filesystem: each of its own would connect anew."""
    shared: dict[str, Folder] = {}
    places = []
    for path in paths:
        bucket, name = _in_bucket(path)
        if name is None:
            places.append(Folder.of(path))
            continue
        if bucket not in shared:
            place = Folder.of(path)
            if not place.path.endswith(f"/{name}"):
                places.append(place)
                continue
            shared[bucket] = replace(place, path=place.path.removesuffix(f"/{name}"))
        places.append(shared[bucket] / name)
    return places


def _in_bucket(path: str) -> tuple[str, str | None]:
    """A key of the bucket of a URI, and the name in it; None for a path, and for a name that a URI writes otherwise."""
    place, _, options = path.partition("?")
    scheme, is_uri, rest = place.partition("://")
    authority, _, name = rest.partition("/")
    is_plain = bool(is_uri and authority and name) and "%" not in name and "#" not in name
    return f"{scheme}://{authority}?{options}", name if is_plain else None


def _folder_of(path: str) -> str:
    place, _, options = path.partition("?")
    return f"{place.rpartition('/')[0]}?{options}"


def _states(files: Sequence[tuple[str, Folder]]) -> list[State]:
    """The states of files that lie in one folder."""
    first = files[0][1]
    if first.is_local or len(files) <= FEW:
        return [_state(path, place, place.filesystem.get_file_info(place.path)) for path, place in files]
    listed = {info.path: info for info in replace(first, path=first.path.rpartition("/")[0]).entries()}
    return [_state(path, place, listed.get(place.path)) for path, place in files]


def _state(path: str, place: Folder, info: fs.FileInfo | None) -> State:
    """A file's state; in whole seconds on S3, which says more of the time in a listing than of a single file."""
    if info is None or info.mtime_ns is None:
        return [path, info and info.size, None]
    part_ns = info.mtime_ns % SECOND_NS if place.filesystem.type_name == "s3" else 0
    return [path, info.size, info.mtime_ns - part_ns]


def changed_inputs(dataset: PreparedDataset) -> list[str]:
    """The files of the log that are no longer as they were when the dataset was prepared: changed, gone, or new.

    The source lists its files anew, so that parts that came to a folder since are found. Where it cannot (its place is
    gone, or it comes from a plugin that is not loaded), new files are not found. Datasets of earlier versions do not
    say what their files were: none has changed. Nor has a file whose address had a password, which is not recorded.
    """
    before = dataset.manifest.get("inputs", [])
    if not before:
        return []
    known = {path for path, *_ in before}
    states = [state for state in before if MASK not in state[0]]
    now = input_states(path for path, *_ in states)
    changed = [was[0] for was, found in zip(states, now, strict=True) if was != found]
    listed = _listed(dataset.manifest.get("config", {}))
    return [*changed, *(path for path in listed if path not in known)]


def _listed(config: Mapping[str, Any]) -> list[str]:
    """The input files that the config of a dataset names by now; none where its source cannot list them."""
    try:
        files = source_of(config["source"]).files()
    except (KeyError, OSError, UserError, OmegaConfBaseException):
        return []
    vectors = config.get("item_vectors")
    return [*files, *([] if vectors is None else [vectors])]
