"""The input files of a dataset: their state when it was prepared, and whether they have changed since."""

from collections.abc import Iterable
from typing import Any

from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset


def input_states(paths: Iterable[str]) -> list[list[Any]]:
    """Path, size in bytes and time of the last change in ns of each file, as JSON values; null where it is missing."""
    states = []
    for path in paths:
        source = Folder.of(path)
        info = source.filesystem.get_file_info(source.path)
        states.append([path, info.size, info.mtime_ns])
    return states


def changed_inputs(dataset: PreparedDataset) -> list[str]:
    """The files of the log that are no longer as they were when the dataset was prepared.

    Files that came to a folder since are not found. Datasets of earlier versions do not say: none has changed.
    """
    before = dataset.manifest.get("inputs", [])
    now = input_states(path for path, *_ in before)
    return [was[0] for was, found in zip(before, now, strict=True) if was != found]
