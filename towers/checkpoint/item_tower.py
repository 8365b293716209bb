"""Opens the item tower of a checkpoint alone: what a worker needs that embeds a part of the catalogue.

Neither the tables of users nor the re-ranker nor what users have seen is read, and no item is embedded.
"""

from data.artifacts.folders import Folder
from data.artifacts.seals import open_sealed, verify_files
from data.artifacts.structured import structured
from data.dataset.catalogue import Catalogue
from towers.checkpoint.opening.parts import cold_length
from towers.checkpoint.opening.weights import load_weights
from towers.model.build import tower_inputs
from towers.model.config import FittedSplits, ModelConfig
from towers.model.features import FeatureEncoder
from towers.model.item_tower import ItemTower

FILES = ("model.safetensors", "items.parquet", "items.vocabularies.parquet")
"""The files that are read; the last one is there if a feature has a vocabulary."""


def open_item_tower(folder: Folder) -> ItemTower:
    """Opens the item tower, in eval mode on the CPU, after verifying the sha256 of each file that it is built from.

    Raises:
        NotSealed: the folder holds no complete checkpoint, or one of these files is missing or changed.
        CheckpointError: a file is damaged or does not fit the others.
    """
    manifest = open_sealed(folder, "checkpoint")
    verify_files(folder, manifest, [name for name in FILES if name in manifest["files"]])
    items = Catalogue.load(folder, "items", "item_id", manifest["item_features"])
    encoder = FeatureEncoder.of_json(items, manifest["item_scales"])
    inputs = tower_inputs(items, encoder, FittedSplits(manifest["fit_on"]))
    tower = ItemTower(structured(ModelConfig, manifest["model"]), inputs)
    tower.cold_length = cold_length(manifest)
    load_weights(tower, folder, "model.safetensors", only=tower.state_dict().keys())
    return tower.eval()
