"""Which run a config describes, where its checkpoint lies, and opening it with the dataset that it belongs to."""

import hashlib
import json
from typing import TYPE_CHECKING

from data.prepare import jsonable, prepare
from data.prepared import PreparedDataset
from data.storage import Folder
from towers.checkpoint import Checkpoint, CheckpointError, open_checkpoint

if TYPE_CHECKING:
    from conf.schema import Config


def run_name(config: "Config", dataset: PreparedDataset) -> str:
    """Dataset name and digest of all that decides the weights: equal runs share a name, and resume each other."""
    decides = [dataset.fingerprint, *(jsonable(c) for c in (config.model, config.loss, config.train)), config.seed]
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
    return f"{config.data.name}-{digest[:10]}"


def checkpoint_folder(config: "Config", dataset: PreparedDataset, storage: Folder) -> Folder:
    return storage / "checkpoints" / run_name(config, dataset)


def open_for(config: "Config") -> tuple[Checkpoint, PreparedDataset]:
    """The checkpoint that a config names, or else trains, and the dataset that it belongs to.

    Raises:
        CheckpointError: it was trained on another dataset than `data` describes.
    """
    storage = Folder.of(config.storage.root)
    dataset = prepare(config.data, storage)
    folder = Folder.of(config.checkpoint) if config.checkpoint else checkpoint_folder(config, dataset, storage)
    checkpoint = open_checkpoint(folder)
    of = checkpoint.manifest["dataset"]
    if of["fingerprint"] != dataset.fingerprint:
        raise CheckpointError(
            f"checkpoint {folder.name} was trained on dataset {of['name']} ({of['fingerprint'][:10]}), but data= gives"
            f" {config.data.name} ({dataset.fingerprint[:10]}): pass the data= it was trained with"
        )
    return checkpoint, dataset
