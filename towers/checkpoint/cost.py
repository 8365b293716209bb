"""What towers cost beside their quality: how large they are, and what a user vector takes."""

import time

import numpy as np
import torch

from towers.checkpoint.checkpoint import Checkpoint
from towers.model.history import pad

TIMED, WARM = 50, 5


@torch.inference_mode()
def cost(checkpoint: Checkpoint) -> dict[str, float]:
    """size_mib: of all files; user_vector_ms: median of single users with their histories, on one thread."""
    model, seen = checkpoint.model, checkpoint.seen
    known = np.flatnonzero(model.user_ids.known_N.cpu().numpy())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    took = []
    for row in np.resize(known[: TIMED + WARM], TIMED + WARM).tolist() if len(known) else []:
        started = time.perf_counter()
        model.user_vectors(torch.tensor([row]), pad([seen.of_user(row).tolist()], model.config.num_history))
        took.append(time.perf_counter() - started)
    torch.set_num_threads(threads)
    ms = 1000 * float(np.median(took[WARM:])) if took else 0.0
    return {"size_mib": round(checkpoint.folder.num_bytes() / 2**20, 3), "user_vector_ms": round(ms, 4)}
