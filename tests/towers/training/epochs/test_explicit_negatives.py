"""Explicit negatives of items that nobody has wanted, in memory and streamed: the towers do not learn from them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from data.dataset.schema import INTERACTIONS
from data.sources.event_types import EventType, EventTypes, Sign
from towers.model.config import FittedSplits, ModelConfig
from towers.model.context import Context
from towers.training.epochs.streamed import streamed_parts
from towers.training.trainer import feedback_of

BUY, HIDE = 0, 1


@pytest.fixture
def log(tmp_path: Path) -> PreparedDataset:
    """User 1 buys items 1 and 2, and item 3 in the validation part; user 2 hides items 2, 3 and 4 and buys item 1."""
    folder, files = Folder.of(str(tmp_path)), dict[str, str]()

    def write(file: str, users: list[int], items: list[int], type: int) -> None:
        table = {"user_row": users, "item_row": items, "time": range(len(users)), "weight": [1.0] * len(users)}
        table |= {"position": range(len(users)), "context": pa.nulls(len(users)), "type": [type] * len(users)}
        files[f"{file}/part-00000.parquet"] = ""
        folder.write_table(f"{file}/part-00000.parquet", pa.table(table).cast(INTERACTIONS))

    write("interactions/split=train", [1, 1, 2], [1, 2, 1], BUY)
    write("interactions/split=validation", [1], [3], BUY)
    write("others/split=train", [2, 2, 2], [2, 3, 4], HIDE)
    for name, count in (("user", 2), ("item", 4)):
        rows = np.arange(1, count + 1)
        counts = {f"{split}_count": np.zeros(count, np.int64) for split in ("train", "validation", "test")}
        if name == "item":
            counts |= {"train_count": np.array([2, 1, 0, 0]), "validation_count": np.array([0, 0, 1, 0])}
        folder.write_table(f"{name}s.parquet", pa.table({"row": rows, f"{name}_id": rows.astype(str)} | counts))
    types = EventTypes({"buy": EventType(), "hide": EventType(sign=Sign.negative)})
    manifest = {"files": files, "counts": {"train": 3, "validation": 1, "test": 0}, "context": []}
    manifest |= {"user_features": [], "item_features": [], "event_types": types.as_manifest()}
    return PreparedDataset(folder, manifest)


@pytest.mark.parametrize(("fit_on", "wanted"), [(FittedSplits.train, [2]), (FittedSplits.train_validation, [2, 3])])
def test_an_item_without_positives_is_no_explicit_negative(
    log: PreparedDataset, fit_on: FittedSplits, wanted: list[int]
) -> None:
    """It would push the vector of unknown ids, which all new items have, away from the user."""
    in_memory = feedback_of(log, fit_on).negatives
    (buffer,) = streamed_parts(log, ModelConfig(), fit_on, Context()).buffers(0, 0, 1, 100)
    assert in_memory is not None and buffer.feedback.negatives is not None
    for negatives in (in_memory, buffer.feedback.negatives):
        assert negatives.sequences.items_N.tolist() == wanted
