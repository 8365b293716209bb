"""The state of a training whose tables are divided among its workers: each writes its own rows, all at the same time.

model-1-of-4.safetensors       the rows of tables that worker 1 stores; of worker 0 all other weights too
best-1-of-4.safetensors        the same of the best epoch; left out where that is the latest one
optimizer-1-of-4.safetensors   what the optimizers remember of these rows
shard-1-of-4.json              progress, and the size of each file; written last

Any number of workers can read what another number of them wrote.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from data.artifacts.folders import Folder
from towers.checkpoint.tensor_files import CheckpointError, mapped_tensors, save_tensors
from towers.checkpoint.warm_start import OF_SMOOTHING
from towers.model.tables.table import tables_of
from towers.training.distributed import anywhere, rank, world_size
from towers.training.epochs.finite import largest_magnitude
from towers.training.optimizer import Optimizers
from towers.training.progress import Progress

BLOCK = 1 << 16
"""Rows that are copied at a time."""

SHARD = re.compile(r"shard-(\d+)-of-(\d+)\.json")

Rows = Mapping[str, Tensor]
"""The rows, int64 [S], that this process stores of each tensor whose rows are divided among the workers."""


def save_shard(
    folder: Folder, progress: Progress, model: nn.Module, optimizers: Optimizers, best: Mapping[str, Tensor]
) -> None:
    """Writes this worker's part of the state; every worker must call it with the same folder.

    Args:
        best: weights of the best epoch so far, as this worker holds them.
    """
    folder.create()
    divided = divided_weights(model) | _divided_state(model, optimizers)
    parts: dict[str, dict[str, Tensor]] = {"model": model.state_dict(), "optimizer": optimizers.state()}
    if progress.best_epoch != progress.epoch:
        parts["best"] = dict(best)
    sizes = {}
    for kind, tensors in parts.items():
        own = {name: t.detach().cpu() for name, t in tensors.items() if rank() == 0 or name in divided}
        name = f"{kind}-{rank()}-of-{world_size()}.safetensors"
        save_tensors(folder, name, own)
        sizes[name] = _size(folder, name)
    folder.write_json(f"shard-{rank()}-of-{world_size()}.json", {"progress": asdict(progress), "files": sizes})


@torch.no_grad()
def load_shards(folder: Folder, model: nn.Module, optimizers: Optimizers) -> tuple[Progress, dict[str, Tensor]] | None:
    """Restores model and optimizers in place; returns the progress and the best weights, as this worker holds them.

    Every worker must call it with the same folder. Returns None, and changes nothing, on all of them where a part is
    missing or incomplete, or holds numbers that are not finite.
    """
    saved = SavedShards.find(folder)
    found: dict[str, dict[str, Tensor]] = {}
    if saved is not None:
        of_weights, of_state = divided_weights(model), _divided_state(model, optimizers)
        found = {"model": saved.read("model", of_weights), "optimizer": saved.read("optimizer", of_state)}
        if saved.has_best:
            found["best"] = saved.read("best", of_weights)
    values = [tensor for of in found.values() for tensor in of.values()]
    is_bad = torch.tensor(saved is None or not largest_magnitude(values).isfinite())
    is_bad = anywhere(is_bad.to(next(model.parameters()).device))
    if saved is None or is_bad:
        return None
    model.load_state_dict(found["model"])
    optimizers.load_state(found["optimizer"])
    return saved.progress, found.get("best", found["model"])


@torch.no_grad()
def load_best_of_shards(folder: Folder, model: nn.Module) -> None:
    """Loads the weights of the best epoch into the model of a single process, in place, with all rows of its tables.

    What smoothing adds, which the workers do not hold, stays as it is.

    Raises:
        CheckpointError: a part is missing, damaged or not of this model, or a value is not finite.
    """
    saved = SavedShards.find(folder)
    if saved is None:
        raise CheckpointError(
            f"{folder}: the parts of some workers are missing; storage.root must be a storage that all nodes share"
        )
    weights, seen = model.state_dict(), {OF_SMOOTHING}  # the tensors are the model's own
    for name, rows, part in saved.parts("best" if saved.has_best else "model", divided_weights(model)):
        seen.add(name)
        if name not in weights or (rows is None and weights[name].shape != part.shape):
            raise CheckpointError(f"{folder}: {name} is not a weight of this model")
        if not largest_magnitude([part]).isfinite():
            raise CheckpointError(f"{folder}: {name} holds NaN or infinite values")
        if rows is None:
            weights[name].copy_(part)
        else:
            weights[name][rows] = part
    if missing := weights.keys() - seen:
        raise CheckpointError(f"{folder}: {', '.join(sorted(missing))} are missing")


def divided_weights(model: nn.Module) -> dict[str, Tensor]:
    """The rows, int64 [S], that this process stores of each table that divides its rows, by the name of its weight."""
    return {name: table.stored_S for name, table in tables_of(model).items() if table.divides_rows}


def _divided_state(model: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
    """The same of the state that optimizers keep of the rows of these tables."""
    weights = dict(model.named_parameters())
    rows_of = {id(weights[name]): rows for name, rows in divided_weights(model).items()}
    return {key: rows_of[id(table)] for key, table in optimizers.row_state().items() if id(table) in rows_of}


def _size(folder: Folder, name: str) -> int | None:
    """Bytes of a file; None where there is none."""
    size: int | None = folder.filesystem.get_file_info(f"{folder.path}/{name}").size
    return size


@dataclass(frozen=True)
class SavedShards:
    """A complete state, as some workers saved it.

    Attributes:
        num_workers: their number.
    """

    folder: Folder
    num_workers: int
    progress: Progress

    @classmethod
    def find(cls, folder: Folder) -> "SavedShards | None":
        """The state in a folder; None where a part of it is missing or has another size than it was written with."""
        named = [found for name in folder.names() if (found := SHARD.fullmatch(name))]
        for num_workers in {int(match[2]) for match in named}:
            parts = [folder.read_json(match[0]) for match in named if int(match[2]) == num_workers]
            files = {name: size for part in parts for name, size in part["files"].items()}
            is_whole = len(parts) == num_workers and len({part["progress"]["epoch"] for part in parts}) == 1
            if is_whole and all(_size(folder, name) == size for name, size in files.items()):
                return cls(
                    folder, num_workers, Progress(**folder.read_json(f"shard-0-of-{num_workers}.json")["progress"])
                )
        return None

    @property
    def has_best(self) -> bool:
        """Whether the best epoch is an earlier one than the latest."""
        return self.progress.best_epoch != self.progress.epoch

    def read(self, kind: str, divided: Rows) -> dict[str, Tensor]:
        """All tensors of a kind that this process stores, by name."""
        found: dict[str, Tensor] = {}
        for name, places, part in self.parts(kind, divided):
            if places is None:
                found[name] = part.clone()
                continue
            if name not in found:
                found[name] = part.new_empty(len(divided[name]), *part.shape[1:])
            found[name][places] = part
        return found

    def parts(self, kind: str, divided: Rows) -> Iterator[tuple[str, Tensor | None, Tensor]]:
        """The tensors of a kind: their names, the places that their rows have in this process, and the rows in blocks.

        The places are None for a tensor whose rows are not divided.
        """
        for worker in range(self.num_workers):
            places_of = {
                name: (rows % self.num_workers == worker).nonzero().flatten() for name, rows in divided.items()
            }
            if worker and not any(map(len, places_of.values())):
                continue
            file = f"{kind}-{worker}-of-{self.num_workers}.safetensors"
            for name, tensor in mapped_tensors(self.folder, file).items():
                if name not in divided:
                    yield name, None, tensor
                    continue
                for places in places_of[name].split(BLOCK):
                    yield name, places, tensor[divided[name][places] // self.num_workers]
