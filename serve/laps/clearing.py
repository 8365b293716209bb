"""What laps have left: their datasets, checkpoints and trainings that nothing needs any more.

A lap makes a copy of the whole log, and models of it. They are needed as long as a release that is there was made of
them, an interrupted lap goes on with them, or a checkpoint that no lap has made names them. Nothing else under the
storage root is looked at: experiments of researchers stay.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from data.artifacts.folders import MANIFEST, Folder
from data.artifacts.seals import is_sealed, named_in, remove_sealed
from data.cluster.console import ProgressReporter
from serve.laps.record import LapRecord
from serve.releases.audit.history import record
from serve.releases.registry import ReleaseRegistry

MADE = "made"
"""The step at which a lap notes the folders that its training makes."""

KINDS = ("datasets", "checkpoints", "training")
"""Folders of the storage root in which laps leave something."""


def left_by_laps(storage: Folder) -> list[Folder]:
    """The folders that laps which have ended have made, and that nothing needs any more."""
    laps = LapRecord.all(storage)
    made = {path for lap in laps if lap.outcome is not None for path in _made(storage, lap)}
    needed = {path for lap in laps if lap.outcome is None for path in (*_made(storage, lap), *_start(storage, lap))}
    needed |= _needed(storage, made)
    return [folder for kind in KINDS for folder in (storage / kind).subfolders() if folder.path in made - needed]


def clear(storage: Folder, folders: Iterable[Folder], progress: ProgressReporter = print) -> list[str]:
    """Removes folders that laps have left; returns their places below the storage root, which the history has too."""
    removed: list[str] = []
    try:
        for folder in folders:
            remove_sealed(folder)
            removed.append(folder.path.removeprefix(f"{storage.path}/"))
            progress(f"prune: {removed[-1]}, which laps have left")
    finally:
        if removed:
            record(ReleaseRegistry.of(storage).folder, action="prune", laps=removed)
    return removed


def _made(storage: Folder, lap: LapRecord) -> Iterator[str]:
    """The paths of what a lap has made; one of an earlier version does not name its trainings."""
    steps = lap.steps
    named = [steps.get("dataset"), steps.get("train"), steps.get("gate", {}).get("checkpoint")]
    for place in (*named, *steps.get(MADE, [])):
        if place is not None:
            yield named_in(storage, place).path


def _start(storage: Folder, lap: LapRecord) -> list[str]:
    """The path of the checkpoint with whose weights the training of a lap starts, if it does."""
    start = lap.steps.get("start")
    return [] if start is None else [named_in(storage, start).path]


def _needed(storage: Folder, made: set[str]) -> set[str]:
    """The paths of what releases, and checkpoints that no lap has made, were made of."""
    registry, checkpoints = ReleaseRegistry.of(storage), storage / "checkpoints"
    left = [place for manifest in registry.manifests().values() for place in _named(storage, manifest)]
    left += [folder.path for folder in checkpoints.subfolders() if folder.path not in made]
    needed: set[str] = set()
    while left:
        place = left.pop()
        folder = checkpoints / place.rpartition("/")[2]
        if place not in needed and folder.path == place and is_sealed(folder):
            with suppress(FileNotFoundError):  # somebody else clears it at the same time
                left += _named(storage, folder.read_json(MANIFEST))
        needed.add(place)
    return needed


def _named(storage: Folder, manifest: Mapping[str, Any]) -> Iterator[str]:
    """The paths of what the manifest of a release or of a checkpoint names."""
    if "checkpoint" in manifest:
        yield (storage / "checkpoints" / manifest["checkpoint"]).path
    for place in (manifest.get("dataset", {}).get("folder"), manifest.get("backtest"), manifest.get("settled")):
        if place is not None:
            yield named_in(storage, place).path
