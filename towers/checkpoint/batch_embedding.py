"""Item vectors of a whole catalogue by Ray Data batch inference."""

from collections.abc import Iterator
from functools import cache, partial

import pyarrow as pa
import ray.data
import torch

from data.artifacts.folders import Folder
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.model.two_tower import TwoTower

BATCHES = 4
"""Of a block, which is what Ray Data hands to a task: a large catalogue never lies in its store whole."""

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def item_vectors(checkpoint: Checkpoint, batch_size: int, num_gpus: float = 0.0) -> ray.data.Dataset:
    """The item table with its vectors (`vector`: list of D float32), streamed.

    Args:
        batch_size: items per call of the tower.
        num_gpus: reserved per task; 0 embeds on CPUs.
    """
    embed = partial(_embed, str(checkpoint.folder))
    table, size = checkpoint.items.table, BATCHES * batch_size
    blocks = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    items = ray.data.from_arrow(blocks)
    return items.map_batches(embed, batch_size=batch_size, batch_format="pyarrow", num_gpus=num_gpus or None)


@torch.inference_mode()
def _embed(checkpoint: str, batch: pa.Table) -> pa.Table:
    rows_B = torch.tensor(batch["row"].to_numpy()).to(DEVICE)
    return _with_vectors(batch, _model(checkpoint).item_vectors(rows_B))


def embedded_items(parts: Checkpoint, batch_size: int) -> Iterator[pa.Table]:
    """The same in this process: the item table with the vectors that were computed as the towers were loaded."""
    table, item_ND = parts.items.table, parts.reranker.item_ID[1:]
    for start in range(0, table.num_rows, batch_size):
        yield _with_vectors(table.slice(start, batch_size), item_ND[start : start + batch_size])


def _with_vectors(items: pa.Table, vector_ND: torch.Tensor) -> pa.Table:
    flat = pa.array(vector_ND.cpu().numpy().reshape(-1), pa.float32())
    return items.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, vector_ND.shape[1]))


@cache
def _model(checkpoint: str) -> TwoTower:
    """The towers, loaded once per worker process."""
    return open_checkpoint(Folder.of(checkpoint)).model.to(DEVICE)
