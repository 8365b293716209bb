"""Weights of a catalogue that has grown: items that were added after the fit have entries of zero."""

from collections.abc import Collection

from torch import Tensor, cat

ITEM_DIMENSIONS = {"item_ids.table.weight": 0, "neighbours_ID": 0, "lift_VI": 1}
"""The names of weights that have an entry for each item, and the dimension that counts the items."""


def with_added_items(tensors: dict[str, Tensor], num_added: int, but: Collection[str] = ()) -> dict[str, Tensor]:
    """The weights by name, those of ITEM_DIMENSIONS with `num_added` zero entries more.

    Args:
        but: names of weights that have no entry for each item, such as a hashed table's.
    """
    if not num_added:
        return tensors
    grow = ITEM_DIMENSIONS.keys() - set(but)
    return {
        name: _with_zeros_appended(tensor, num_added, ITEM_DIMENSIONS[name]) if name in grow else tensor
        for name, tensor in tensors.items()
    }


def _with_zeros_appended(tensor: Tensor, count: int, dim: int) -> Tensor:
    shape = list(tensor.shape)
    shape[dim] = count
    return cat([tensor, tensor.new_zeros(shape)], dim)
