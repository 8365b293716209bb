"""Which items that a user has seen batch inference leaves out: by default those that its report was made without."""

from collections.abc import Mapping
from typing import Any

from data.sequences.histories import Sequences
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import LATEST, SeenItems
from towers.training.stages.measured_again import MEASURED_BY


def treatment_of_seen(manifest: Mapping[str, Any], exclude_seen: bool | None = None) -> SeenItems:
    """Returns what becomes of the items that a user has seen.

    Args:
        manifest: That of a release. Where an earlier version trained it, seen items are masked.
        exclude_seen: Whether all of them are left out; None means as the release was measured (`evaluate.seen`).
    """
    if exclude_seen is not None:
        return SeenItems.mask if exclude_seen else SeenItems.keep
    return SeenItems(manifest.get(MEASURED_BY, {}).get("seen", SeenItems.mask.value))


def left_out(parts: Checkpoint, treatment: SeenItems) -> Sequences:
    """Returns every user's items that are left out, as an evaluation masks them; for `mask_200` a pass over all."""
    if treatment is SeenItems.keep:
        return Sequences.nothing(parts.seen.num_users)
    return parts.history.latest(LATEST) if treatment is SeenItems.mask_200 else parts.seen
