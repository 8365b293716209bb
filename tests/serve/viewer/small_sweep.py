"""A sweep that has ended, for the page to show."""

from pathlib import Path
from typing import Any

from data.artifacts.json_text import json_text
from towers.sweeps.records import Record, Records, State


def write_sweep(root: Path) -> None:
    """Writes a sweep of four trials, as the launcher leaves it, where the page looks for sweeps."""
    folder = root / "sweeps" / "towers.train" / "3f9a"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text(json_text({"module": "towers.train", "options": []}))
    (folder / "multirun.yaml").write_text("train: {monitor: recall@20}")
    records = Records(folder)
    for number, (dim, lr) in enumerate((dim, lr) for dim in (16, 32) for lr in (0.01, 0.1)):
        value = 0.1 + 0.01 * dim / 16 - 0.2 * lr
        result = {
            "training": {"best_value": value, "seconds": 4.0 + dim},
            "cost": {"size_mib": dim, "user_vector_ms": 1.0},
        }
        epochs = [(epoch, {"recall@20": value * epoch / 3}) for epoch in (1, 2, 3)]
        overrides = [f"model.embedding_dim={dim}", f"train.learning_rate={lr}"]
        records.add(_record(number=number, overrides=overrides, result=result, epochs=epochs))


def _record(**fields: Any) -> Record:
    return Record(state=State.finished, seconds=1.0, **fields)
