"""The backtest of a checkpoint whose towers have seen the test part (`train.fit_on=all`)."""

from typing import Any

from data.artifacts.seals import NotSealed, named_in
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.checkpoint.tensor_files import CheckpointError
from towers.model.config import FittedSplits


def is_final(manifest: dict[str, Any]) -> bool:
    """Whether the towers of a checkpoint or a release were fitted on every interaction of their dataset."""
    return FittedSplits(manifest["fit_on"]) is FittedSplits.all


def measurable(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint that can be measured on the test part: itself, or its backtest where its towers have seen it.

    Raises:
        CheckpointError: its backtest is gone.
    """
    if not is_final(checkpoint.manifest):
        return checkpoint
    folder = named_in(checkpoint.folder, checkpoint.manifest["backtest"])
    try:
        return open_checkpoint(folder)
    except NotSealed as e:
        raise CheckpointError(
            f"{checkpoint.name} has learned from every interaction and is measured by its backtest, which is not in"
            f" {folder}: train again, with the values that it was trained with"
        ) from e


def has_seen_test(manifest: dict[str, Any], dataset: PreparedDataset) -> bool:
    """Whether the towers of a checkpoint or a release may have learned from the test part of a dataset.

    Where a moment in time divides the splits, they have if their newest interaction lies in the test part, whatever
    their own split was. Otherwise only the final fit counts as having learned from it.
    """
    boundaries, newest = dataset.manifest["boundaries"], manifest.get("newest_interaction")
    if boundaries is not None and newest is not None and dataset.has_clock:
        return bool(newest >= boundaries["test_from"])
    return is_final(manifest)
