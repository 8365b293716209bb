"""Golden queries: what the user tower said at publish, and must say in every process that serves the release."""

import json
from dataclasses import dataclass

import numpy as np

from serve.embedder import UserEmbedder
from serve.release import Release, ReleaseError
from towers.checkpoint import Checkpoint

GOLDEN = "golden.json"
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Golden:
    """A query and the vector that the user tower must give for it."""

    user_row: int
    history: list[int]
    vector: list[float]


def golden_queries(parts: Checkpoint, count: int = 8) -> list[Golden]:
    """Queries over users that the tower can place, spread over the vocabulary, answered by the tower as it is."""
    embedder = UserEmbedder("golden", parts)
    known = np.flatnonzero(parts.model.user_ids.known_N.numpy())
    found = []
    for row in known[np.linspace(0, len(known) - 1, min(count, len(known))).astype(int)].tolist():
        history = parts.seen.of_user(row).tolist()
        (vector_D,) = embedder.vectors([(row, np.array(history))])
        assert vector_D is not None, "a user with training interactions has a vector"
        found.append(Golden(row, history, vector_D.tolist()))
    return found


def check_golden(release: Release) -> None:
    """Raises ReleaseError where this process does not compute the vectors that were stored at publish."""
    embedder = UserEmbedder(release.id, release.parts)
    for value in json.loads(release.parts.folder.read_bytes(GOLDEN)):
        golden = Golden(**value)
        (vector_D,) = embedder.vectors([(golden.user_row, np.array(golden.history))])
        distance = np.inf if vector_D is None else np.abs(vector_D - np.array(golden.vector)).max()
        if not distance <= TOLERANCE:
            raise ReleaseError(
                f"release {release.id}: golden query of user row {golden.user_row} is off by {distance:.2g}"
            )
