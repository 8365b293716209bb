"""Opens the item tower of a checkpoint alone: what a worker needs that embeds a part of the catalogue.

Neither the tables of users nor the re-ranker nor what users have seen is read, and no item is embedded.
"""

from data.artifacts.folders import Folder
from data.artifacts.seals import open_sealed
from towers.checkpoint.opening.order import in_order_of_weights
from towers.checkpoint.opening.parts import Parts
from towers.model.item_tower import ItemTower


def open_item_tower(folder: Folder) -> ItemTower:
    """Opens the item tower, in eval mode on the CPU, after verifying the sha256 of each file that it is built from.

    Raises:
        NotSealed: the folder holds no complete checkpoint, or one of these files is missing or changed.
        CheckpointError: a file is damaged or does not fit the others.
    """
    return Parts(folder, in_order_of_weights(open_sealed(folder, "checkpoint")), serves=True).item_tower
