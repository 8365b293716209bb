"""Item vectors of a whole catalogue: computed by Ray Data batch inference, or taken from an opened checkpoint.

Shape legend: B items of a batch, N items of the catalogue, D dimension.
"""

from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import ray.data
import torch

from data.artifacts.folders import Folder
from towers.checkpoint.checkpoint import Checkpoint
from towers.checkpoint.item_tower import open_item_tower
from towers.model.item_tower import ItemTower

BATCHES_PER_BLOCK = 4
"""Batches per Ray Data block, which one task embeds; small blocks keep a catalogue from filling the object store."""

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def item_vectors(checkpoint: Checkpoint, batch_size: int, num_gpus: float = 0.0) -> ray.data.Dataset:
    """Items by row, with their features and a column `vector` (D float32 each): computed as it is consumed, in order.

    Args:
        batch_size: items per call of the item tower.
        num_gpus: GPUs reserved per task; 0 computes on CPUs.
    """
    embed = partial(_embed, checkpoint.folder)
    size, features = BATCHES_PER_BLOCK * batch_size, [feature.name for feature in checkpoint.items.features]
    table = checkpoint.items.held.select(["row", *features])
    blocks = [table.slice(start, size) for start in range(0, table.num_rows, size)]
    items = ray.data.from_arrow(blocks)
    items.context.execution_options.preserve_order = True  # an index of other batches first is another one
    return items.map_batches(embed, batch_size=batch_size, batch_format="pyarrow", num_gpus=num_gpus or None)


@torch.inference_mode()
def _embed(checkpoint: Folder, batch: pa.Table) -> pa.Table:
    rows_B = torch.tensor(batch["row"].to_numpy()).to(DEVICE)
    return _with_vectors(batch, _tower(checkpoint).item_vectors(rows_B))


def embedded_items(parts: Checkpoint, batch_size: int) -> Iterator[pa.Table]:
    """The item table in batches, with the item vectors of the opened checkpoint."""
    table, item_ND = parts.items.table, parts.item_vectors_ID[1:]
    for start in range(0, table.num_rows, batch_size):
        yield _with_vectors(table.slice(start, batch_size), item_ND[start : start + batch_size])


def _with_vectors(items: pa.Table, vector_ND: torch.Tensor) -> pa.Table:
    flat = pa.array(vector_ND.cpu().numpy().reshape(-1), pa.float32())
    return items.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, vector_ND.shape[1]))


_towers: dict[str, ItemTower] = {}


def _tower(checkpoint: Folder) -> ItemTower:
    """The item tower, loaded once per worker process; it needs a part of the checkpoint's files."""
    if (name := str(checkpoint)) not in _towers:
        _towers[name] = open_item_tower(checkpoint).to(DEVICE)
    return _towers[name]
