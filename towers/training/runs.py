"""Which run a config describes, where its checkpoint lies, and opening it with the dataset that it belongs to."""

import hashlib
import json
from typing import Any

from data.artifacts.folders import Folder
from data.artifacts.structured import jsonable
from data.dataset.preparation import prepare
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint, CheckpointError, open_checkpoint
from towers.model.config import ARCHITECTURE
from towers.training.config import PLACEMENT
from towers.training.job import Recipe


def training_name(config: Recipe, dataset: PreparedDataset) -> str:
    """Dataset name and digest of all that decides the towers: equal runs share a name, and resume each other."""
    return f"{config.data.name}-{_digest(dataset, *_deciding(config))}"


def checkpoint_folder(config: Recipe, dataset: PreparedDataset, storage: Folder) -> Folder:
    """Where the towers of `training_name` lie with the re-ranker that the config describes."""
    digest = _digest(dataset, *_deciding(config), jsonable(config.rerank))
    return storage / "checkpoints" / f"{config.data.name}-{digest}"


def _deciding(config: Recipe) -> list[Any]:
    train = {name: value for name, value in jsonable(config.train).items() if name not in PLACEMENT}
    return [ARCHITECTURE, jsonable(config.model), jsonable(config.loss), train, config.seed]


def _digest(dataset: PreparedDataset, *deciding: Any) -> str:
    return hashlib.sha256(json.dumps([dataset.fingerprint, *deciding], sort_keys=True).encode()).hexdigest()[:10]


def open_for(config: Recipe, storage: Folder, checkpoint: str | None) -> tuple[Checkpoint, PreparedDataset]:
    """The checkpoint in the folder `checkpoint`, or the one that the recipe trains, and the dataset that it belongs to.

    Raises:
        CheckpointError: it was trained on another dataset than `data` describes.
    """
    dataset = prepare(config.data, storage)
    folder = Folder.of(checkpoint) if checkpoint else checkpoint_folder(config, dataset, storage)
    opened = open_checkpoint(folder)
    of = opened.manifest["dataset"]
    if of["fingerprint"] != dataset.fingerprint:
        raise CheckpointError(
            f"checkpoint {folder.name} was trained on dataset {of['name']} ({of['fingerprint'][:10]}), but data= gives"
            f" {config.data.name} ({dataset.fingerprint[:10]}): pass the data= it was trained with"
        )
    return opened, dataset
