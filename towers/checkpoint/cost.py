"""The costs of a model: the size of its checkpoint, and the time that computing a user vector takes."""

import time

import numpy as np
import torch

from towers.checkpoint.checkpoint import Checkpoint
from towers.model.history.moments import Moments
from towers.model.history.padding import pad

NUM_TIMED, NUM_WARM_UP = 50, 5
"""Number of user vectors that are timed, and of those computed before them without being timed."""


@torch.inference_mode()
def cost(checkpoint: Checkpoint) -> dict[str, float]:
    """Measures `size_mib`, of all files, and `user_vector_ms`, the median for single users on one thread."""
    model, history, length = checkpoint.model, checkpoint.history, checkpoint.model.config.num_history
    known = np.flatnonzero(model.user_ids.known_N.cpu().numpy())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds = []
    for row in np.resize(known[: NUM_TIMED + NUM_WARM_UP], NUM_TIMED + NUM_WARM_UP).tolist() if len(known) else []:
        started = time.perf_counter()
        moments = Moments.latest(history, np.array([row]), length)
        model.user_vectors(torch.tensor([row]), pad([history.of_user(row).tolist()], length), None, moments)
        seconds.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    ms = 1000 * float(np.median(seconds[NUM_WARM_UP:])) if seconds else 0.0
    return {"size_mib": round(checkpoint.folder.num_bytes() / 2**20, 3), "user_vector_ms": round(ms, 4)}
