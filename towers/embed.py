"""Item vectors of a whole catalogue by Ray Data batch inference."""

import pyarrow as pa
import ray.data
import torch

from data.storage import Folder
from towers.checkpoint import Checkpoint, open_checkpoint


class EmbedItems:
    """An actor of the inference pool: holds the item tower, appends `vector` (list of D float32) to each row."""

    def __init__(self, folder: Folder) -> None:
        self._model = open_checkpoint(folder).model
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model.to(self._device)

    @torch.inference_mode()
    def __call__(self, batch: pa.Table) -> pa.Table:
        rows_B = torch.tensor(batch["row"].to_numpy()).to(self._device)
        vector_BD = self._model.item_vectors(rows_B).cpu().numpy()
        flat = pa.array(vector_BD.reshape(-1), pa.float32())
        return batch.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, vector_BD.shape[1]))


def item_vectors(checkpoint: Checkpoint, batch_size: int, num_actors: int = 1) -> ray.data.Dataset:
    """The item table with its vectors, streamed.

    Args:
        batch_size: items per call of the tower.
        num_actors: copies of the tower that work side by side.
    """
    items = ray.data.from_arrow(checkpoint.items.table)
    return items.map_batches(
        EmbedItems,
        fn_constructor_args=(checkpoint.folder,),
        batch_size=batch_size,
        batch_format="pyarrow",
        compute=ray.data.ActorPoolStrategy(size=num_actors),
    )
