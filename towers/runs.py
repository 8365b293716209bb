"""Which run a config describes, where its checkpoint lies, and opening it with the dataset that it belongs to."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

from data.prepare import jsonable, prepare
from data.prepared import PreparedDataset
from data.storage import Folder
from towers.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from towers.job import PLACEMENT
from towers.two_tower import ARCHITECTURE

if TYPE_CHECKING:
    from conf.schema import Config


def training_name(config: "Config", dataset: PreparedDataset) -> str:
    """Dataset name and digest of all that decides the towers: equal runs share a name, and resume each other."""
    return f"{config.data.name}-{_digest(dataset, *_deciding(config))}"


def checkpoint_folder(config: "Config", dataset: PreparedDataset, storage: Folder) -> Folder:
    """Where the towers of `training_name` lie with the re-ranker that the config describes."""
    digest = _digest(dataset, *_deciding(config), jsonable(config.rerank))
    return storage / "checkpoints" / f"{config.data.name}-{digest}"


def _deciding(config: "Config") -> list[Any]:
    train = {name: value for name, value in jsonable(config.train).items() if name not in PLACEMENT}
    return [ARCHITECTURE, jsonable(config.model), jsonable(config.loss), train, config.seed]


def _digest(dataset: PreparedDataset, *deciding: Any) -> str:
    return hashlib.sha256(json.dumps([dataset.fingerprint, *deciding], sort_keys=True).encode()).hexdigest()[:10]


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
