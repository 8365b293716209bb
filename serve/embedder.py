"""Stage 1: from a user id and a history to a user vector."""

import numpy as np
import torch

from serve.request import Query, UserVector, same_release
from towers.checkpoint import Checkpoint
from towers.history import pad


class UserEmbedder:
    """The user tower of one release, for one query at a time."""

    def __init__(self, release_id: str, parts: Checkpoint) -> None:
        self.release_id = release_id
        self._parts = parts
        self._length = parts.model.config.num_history

    async def __call__(self, query: Query) -> UserVector:
        same_release(self.release_id, query.release_id)
        row = self._parts.users.ids.row(query.user_id) if query.user_id is not None else 0
        history = np.concatenate([self._parts.seen.of_user(row), np.array(query.history, dtype=np.int64)])
        return UserVector(self.release_id, self.vector(row, history.tolist()), history.astype(np.int64))

    @torch.inference_mode()
    def vector(self, user_row: int, history: list[int]) -> np.ndarray | None:
        """float32 [D] of a user row and the item rows known of it, oldest first; None where nothing is known."""
        rows_B, history_BL = torch.tensor([user_row]), pad([history], self._length)
        if not self._parts.model.can_place(rows_B, history_BL).item():
            return None
        vector_BD: torch.Tensor = self._parts.model.user_vectors(rows_B, history_BL)
        return vector_BD[0].numpy()
