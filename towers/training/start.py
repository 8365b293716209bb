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
from towers.checkpoint.freshness import newest_time
from towers.checkpoint.opening.named import dataset_of
from towers.checkpoint.warm_start import warm_start
from towers.model.build import build_model
from towers.model.config import FittedSplits
from towers.model.context import Context
from towers.model.two_tower import TowerInputs
from towers.training.config import Recipe


def open_start(config: Recipe, dataset: PreparedDataset) -> Checkpoint | None:
    """Opens the checkpoint that a training starts from; None where it starts with fresh weights.

    Raises:
        ConfigError: it does not exist, was fitted on interactions that this training is measured on, or may have been.
        CheckpointError: it is damaged.
    """
    if config.train.start_from is None:
        return None
    checkpoint = _open(named_in(dataset.folder, config.train.start_from))
    if FittedSplits(checkpoint.manifest["fit_on"]) is FittedSplits.all:
        checkpoint = _open(named_in(checkpoint.folder, checkpoint.manifest["settled"]))
    fit_on = FittedSplits(checkpoint.manifest["fit_on"])
    if fit_on is not FittedSplits.train:
        raise ConfigError(
            f"train.start_from: {checkpoint.folder} was fitted on {fit_on.value}, a part that is measured on among it;"
            " name one with fit_on train or all"
        )
    if bounds := dataset.manifest.get("boundaries"):
        _check_times(checkpoint, dataset, bounds["validation_from"])
    else:
        _check_split(checkpoint, dataset, config.data.split.kind.value)
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


def _check_times(checkpoint: Checkpoint, dataset: PreparedDataset, validation_from: int) -> None:
    """Raises ConfigError if a checkpoint has learned interactions from this moment on, or does not say."""
    manifest = checkpoint.manifest
    if "newest_interaction" in manifest:
        newest: int | None = manifest["newest_interaction"]
    elif (own := _dataset_of(checkpoint, dataset)) is not None:  # an earlier version did not write it
        newest = newest_time(own, FittedSplits.train.splits)
    else:
        raise ConfigError(
            f"train.start_from: {checkpoint.folder} is of an earlier version and does not say until when it has"
            f" learned, and its dataset {manifest['dataset']['folder']} is gone: put that back, name another"
            " checkpoint, or set train.start_from=null"
        )
    if newest is not None and newest >= validation_from:
        raise ConfigError(
            f"train.start_from: {checkpoint.folder} has learned interactions up to {newest}, and those from"
            f" {validation_from} on are to be measured on; give data.split the values that it was trained with, or set"
            " train.start_from=null"
        )


def _check_split(checkpoint: Checkpoint, dataset: PreparedDataset, kind: str) -> None:
    """Raises ConfigError unless a checkpoint was trained on the same parts of the same interactions.

    Where no moment divides the splits, it cannot be told otherwise that it has learned nothing that is held out now.
    """
    own = _dataset_of(checkpoint, dataset)
    if own is not None and _held_in_parts(own) == _held_in_parts(dataset):
        return
    of = checkpoint.manifest["dataset"]
    kind_of_start = checkpoint.manifest["config"]["data"]["split"]["kind"]
    raise ConfigError(
        f"train.start_from: {checkpoint.folder} was trained on {of['name']} ({of['fingerprint'][:10]}), split by"
        f" data.split.kind={kind_of_start}, and may have learned what is held out of {dataset.manifest['name']}"
        f" ({dataset.fingerprint[:10]}), split by data.split.kind={kind}, where no moment divides the parts: give data"
        " the values and the log that it was trained with, set data.split.kind=temporal, or train.start_from=null"
    )


def _dataset_of(checkpoint: Checkpoint, dataset: PreparedDataset) -> PreparedDataset | None:
    """The dataset that a checkpoint was trained on, perhaps the given one; None where it is gone."""
    is_given = checkpoint.manifest["dataset"]["fingerprint"] == dataset.fingerprint
    return dataset if is_given else dataset_of(checkpoint)


def _held_in_parts(dataset: PreparedDataset) -> dict[str, str]:
    """The sha256 of each file of interactions, by its name, which has the split."""
    return {name: sha for name, sha in dataset.manifest["files"].items() if name.startswith("interactions/")}
