"""RecBole's BPR in its own trainer and data loader. Prints positives per second of its best epoch as JSON.

python recbole_bpr.py interactions.npz BATCH_SIZE EPOCHS THREADS
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.model.general_recommender import BPR
from recbole.trainer import Trainer


def main(path: str, batch_size: int, epochs: int, threads: int) -> None:
    torch.set_num_threads(threads)
    arrays = np.load(path)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "log" / "log.inter"
        file.parent.mkdir()
        rows = np.stack([arrays["users"], arrays["items"]], axis=1)
        np.savetxt(file, rows, fmt="%d", delimiter="\t", header="user_id:token\titem_id:token", comments="")
        settings = {
            "data_path": folder, "embedding_size": 64, "train_batch_size": batch_size, "use_gpu": False,
            "load_col": {"inter": ["user_id", "item_id"]}, "show_progress": False, "state": "ERROR",
            "checkpoint_dir": folder, "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "RO", "mode": "full"},
        }  # fmt: skip
        config = Config(model="BPR", dataset="log", config_dict=settings)
        train, _, _ = data_preparation(config, create_dataset(config))
        model = BPR(config, train.dataset)
        trainer = Trainer(config, model)
        seconds = []
        for epoch in range(epochs):
            started = time.perf_counter()
            trainer._train_epoch(train, epoch)
            seconds.append(time.perf_counter() - started)
    print(json.dumps({"examples_per_s": len(rows) / min(seconds)}))


if __name__ == "__main__":
    sys.argv, (_, source, *numbers) = sys.argv[:1], sys.argv  # RecBole reads the command line too
    main(source, *map(int, numbers[:3]))
