"""Loads the weights of a module that was built for them."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from data.artifacts.folders import Folder
from towers.checkpoint.added_items import with_added_items
from towers.checkpoint.tensor_files import CheckpointError, mapped_tensors
from towers.model.tables.hashed import hashed_tables
from towers.model.tables.table import DRAWS

DRAWN: tuple[Callable[..., Any], ...] = (nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_)
"""What draws the initial values of the modules of this project."""

CHECKED = 1 << 20
"""Number of values that are looked at together: the masks of a whole table would take as much memory as itself."""

UNUSED = "user_ids.table.weight"
"""A table that earlier versions saved also with `model.user_ids=false`, where nothing is looked up in it."""


def load_weights(
    module: nn.Module,
    folder: Folder,
    name: str,
    num_added: int = 0,
    only: Collection[str] | None = None,
    mapped: bool = False,
) -> None:
    """Loads weights into a module, in place.

    Args:
        num_added: items that were added after the weights were fitted; their entries are zero.
        only: the names of the module's weights, where the file holds those of other modules too.
        mapped: the module's weights are the file's own, which the processes of a machine share; not written to.

    Raises:
        CheckpointError: names or shapes differ from the module's, or a value is not finite.
    """
    tensors = mapped_tensors(folder, name, only)  # also where they are copied into the module
    if UNUSED in tensors and UNUSED not in module.state_dict():
        del tensors[UNUSED]
    refuse_not_finite(tensors, f"{folder}/{name}")
    try:
        grown = with_added_items(tensors, num_added, but=hashed_tables(module).keys())
        module.load_state_dict(grown, assign=mapped)
    except RuntimeError as e:
        raise CheckpointError(f"{folder}/{name}: not the weights of this model: {' '.join(str(e).split())}") from e


def refuse_not_finite(tensors: Mapping[str, Tensor], place: str) -> None:
    """Raises CheckpointError, which names the place, if a tensor holds a value that is not finite."""
    for key, tensor in tensors.items():
        if not all(torch.isfinite(part).all() for part in tensor.flatten().split(CHECKED)):
            raise CheckpointError(f"{place}: {key} holds NaN or infinite values")


@contextmanager
def without_initial_values() -> Iterator[None]:
    """Modules that are built in the block, by this thread, get no initial values: theirs are loaded afterwards.

    Drawing those of a million rows takes a second, and the memory of the whole table.
    """
    token = DRAWS.set(False)
    try:
        with _Undrawn():
            yield
    finally:
        DRAWS.reset(token)


class _Undrawn(TorchFunctionMode):
    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        values = kwargs or {}
        if func in DRAWN:
            return args[0] if args else values["tensor"]
        return func(*args, **values)
