"""torch-rechub's DSSM with in-batch negatives, in its own trainer. Prints positives per second as JSON.

    python torch_rechub_dssm.py interactions.npz BATCH_SIZE STEPS THREADS

Batches are handed to the trainer as ready tensors, which is faster than its own data loader.
"""

import json
import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch_rechub.basic.features import SparseFeature
from torch_rechub.models.matching import DSSM
from torch_rechub.trainers import MatchTrainer

WARM_UP = 3


def main(path: str, batch_size: int, steps: int, threads: int) -> None:
    torch.set_num_threads(threads)
    arrays = np.load(path)
    users, items = torch.from_numpy(arrays["users"]), torch.from_numpy(arrays["items"])
    sizes = {"user": int(users.max()) + 1, "item": int(items.max()) + 1}
    user, item = (SparseFeature(name, vocab_size=size, embed_dim=64) for name, size in sizes.items())
    tower = {"dims": [64], "activation": "prelu"}
    model = DSSM([user], [item], user_params=tower, item_params=tower, temperature=0.1)
    trainer = MatchTrainer(model, mode=2, in_batch_neg=True, optimizer_params={"lr": 1e-3, "weight_decay": 0.0})

    def batches(count: int) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        order = torch.randperm(len(users), generator=torch.Generator().manual_seed(0))
        for rows in order.split(batch_size)[:count]:
            yield {"user": users[rows], "item": items[rows]}, torch.ones(len(rows))

    trainer.train_one_epoch(batches(WARM_UP))
    started = time.perf_counter()
    trainer.train_one_epoch(batches(steps))
    print(json.dumps({"examples_per_s": steps * batch_size / (time.perf_counter() - started)}))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
