"""The input files of a dataset: their state when it was prepared, and whether they have changed since."""

from collections.abc import Iterable, Mapping
from typing import Any

from omegaconf.errors import OmegaConfBaseException

from data.artifacts.errors import UserError
from data.artifacts.folders import Folder
from data.artifacts.secrets import MASK
from data.dataset.prepared import PreparedDataset
from data.sources.settings import source_of


def input_states(paths: Iterable[str]) -> list[list[Any]]:
    """Path, size in bytes and time of the last change in ns of each file, as JSON values; null where it is missing."""
    states = []
    for path in paths:
        source = Folder.of(path)
        info = source.filesystem.get_file_info(source.path)
        states.append([path, info.size, info.mtime_ns])
    return states


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
