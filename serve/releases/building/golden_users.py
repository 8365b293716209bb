"""Of which users a release records golden queries: those whom its towers can place."""

from collections.abc import Iterator

import numpy as np
import torch

from serve.releases.release import ReleaseError
from towers.checkpoint.checkpoint import Checkpoint

LOOKED_AT = 4096
"""Users who are looked at together, where those spread over the vocabulary are too few."""


def golden_users(parts: Checkpoint, most: int) -> list[int]:
    """Returns the rows of some users with training interactions, at most so many, spread evenly over the vocabulary.

    Users of whom the towers know nothing are left out, and others come in their place: without `model.user_ids`, those
    whose latest items all have neither training data nor known features.

    Raises:
        ReleaseError: there is no other user.
    """
    known = np.flatnonzero(parts.model.user_ids.known_N.numpy())
    found = np.zeros(0, dtype=np.int64)
    for rows in _looked_at(known, most):
        found = np.concatenate([found, np.setdiff1d(rows[_is_placed(parts, rows)], found)])
        if len(found) >= min(most, len(known)):
            break
    if not len(found):
        raise ReleaseError(
            f"{parts.folder}: the towers can place no user, since the latest items of all histories have neither"
            " training data nor known features; train with train.fit_on=all, model.user_ids=true or features of items"
        )
    return sorted(found[:most].tolist())


def _looked_at(known: np.ndarray, most: int) -> Iterator[np.ndarray]:
    """Users spread over the vocabulary, and then all of them in parts."""
    yield known[np.linspace(0, len(known) - 1, min(most, len(known))).astype(int)]
    yield from (known[start : start + LOOKED_AT] for start in range(0, len(known), LOOKED_AT))


def _is_placed(parts: Checkpoint, rows: np.ndarray) -> np.ndarray:
    """bool: which users the towers can place by what the release knows of them."""
    latest_BL = torch.from_numpy(parts.history.last(rows, parts.model.config.num_history))
    placed: np.ndarray = parts.model.is_known(torch.from_numpy(rows), latest_BL).numpy()
    return placed
