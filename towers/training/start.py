"""The checkpoint that a training starts from (`train.start_from`), not fitted on what this one is measured on.

A checkpoint of a final fit has learned from all interactions of its time. From it, training starts with the weights of
the measured fit before it, which has left out what was newest then.
"""

from torch import Tensor

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.seals import NotSealed, named_in
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.checkpoint.warm_start import warm_start
from towers.model.build import build_model
from towers.model.config import FittedSplits
from towers.model.context import Context
from towers.model.two_tower import TowerInputs
from towers.training.config import Recipe


def open_start(config: Recipe, dataset: PreparedDataset) -> Checkpoint | None:
    """Opens the checkpoint that a training starts from; None where it starts with fresh weights.

    Raises:
        ConfigError: it does not exist, or was fitted on interactions that this training is measured on.
        CheckpointError: it is damaged.
    """
    if config.train.start_from is None:
        return None
    checkpoint = _open(named_in(dataset.folder, config.train.start_from))
    if FittedSplits(checkpoint.manifest["fit_on"]) is FittedSplits.all:
        checkpoint = _open(named_in(checkpoint.folder, checkpoint.manifest["settled"]))
    fit_on, newest = FittedSplits(checkpoint.manifest["fit_on"]), checkpoint.manifest["newest_interaction"]
    if fit_on is not FittedSplits.train:
        raise ConfigError(
            f"train.start_from: {checkpoint.folder} was fitted on {fit_on.value}, a part that is measured on among it;"
            " name one with fit_on train or all"
        )
    bounds = dataset.manifest.get("boundaries")
    if bounds and newest is not None and newest >= bounds["validation_from"]:
        raise ConfigError(
            f"train.start_from: {checkpoint.folder} has learned interactions up to {newest}, and those from"
            f" {bounds['validation_from']} on are to be measured on; give data.split the values that it was trained"
            " with, or set train.start_from=null"
        )
    return checkpoint


def starting_weights(
    config: Recipe, dataset: PreparedDataset, users: TowerInputs, items: TowerInputs, context: Context
) -> dict[str, Tensor] | None:
    """The weights that the towers start with; None where they start fresh.

    Raises:
        ConfigError, CheckpointError: `train.start_from` cannot be used.
    """
    source = open_start(config, dataset)
    if source is None:
        return None
    model = build_model(config.model, users, items, config.seed, context, dataset.event_type_names)
    warm_start(model, source, (dataset.users.ids, dataset.items.ids), (users.encoder, items.encoder))
    return model.state_dict()


def _open(folder: Folder) -> Checkpoint:
    try:
        return open_checkpoint(folder)
    except NotSealed as e:
        raise ConfigError(f"train.start_from: there is no checkpoint in {folder}; name another, or null") from e
