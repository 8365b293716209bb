"""Trains both towers and the re-ranker, and seals them as a checkpoint with what was measured.

The driver encodes the catalogues, lets Ray Train fit the towers, fits the re-ranker and measures both on the test part
(towers/training/stages). A training that was killed resumes from its last complete epoch and ends with the same
weights (with several workers, if Ray has as many CPUs as before, by which the log is divided among them).
"""

from dataclasses import replace
from typing import Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.seals import is_sealed
from data.cluster.console import ProgressReporter
from data.dataset.prepared import PreparedDataset
from data.dataset.split import VALIDATION
from data.sequences.histories import TIME, TYPE
from data.sources.event_types import is_positive
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.evaluation.goals import check_goals
from towers.evaluation.queries import check_queries
from towers.model.config import FittedSplits, ModelConfig
from towers.training.config import Recipe, check_recipe
from towers.training.epochs.streamed import num_examples
from towers.training.runs import checkpoint_folder, is_of_present_code, is_trained, training_name
from towers.training.stages.final_fit import BACKTEST, final_fit
from towers.training.stages.measured_fit import fit_and_measure, has_validation
from towers.training.stages.one_at_a_time import one_at_a_time
from towers.training.stages.room import check_room
from towers.training.start import open_start


def train(config: Recipe, dataset: PreparedDataset, storage: Folder, progress: ProgressReporter = print) -> Checkpoint:
    """Trains and seals a checkpoint, or opens the one of an equal run that is already complete.

    In a trial of a sweep that wants the present code (`hydra.launcher.same_code`), a checkpoint of other code is
    trained again and replaced.

    Each catalogue is encoded once, and the items are embedded once, with the final weights. With `train.fit_on=all`,
    the run with `fit_on=train` is trained first, if that was not done before: it decides the number of epochs.

    Args:
        config: everything that decides the training.
        storage: where artifacts are kept; the checkpoint goes to its folder `checkpoints`.
        progress: called with a line of text about each step.

    Raises:
        ConfigError: parts of the configuration do not go together, or the dataset has nothing to measure on.
        Pruned: this training is a trial of a sweep that ended it early.
    """
    folder = checkpoint_folder(config, dataset, storage)
    if is_trained(folder):
        return _trained(config, dataset, storage, progress)
    if is_sealed(folder):
        progress(f"train: {folder.name} was trained by another version of the code, and is trained again")
    _check(config, dataset)
    check_room(config.train, progress)
    with one_at_a_time(storage, f"checkpoint-{folder.name}", progress):
        if is_trained(folder):  # by the run that this one has waited for
            return _trained(config, dataset, storage, progress)
        return _train(config, dataset, storage, progress)


def _trained(config: Recipe, dataset: PreparedDataset, storage: Folder, progress: ProgressReporter) -> Checkpoint:
    """Opens the checkpoint of an equal run that is already complete."""
    folder = checkpoint_folder(config, dataset, storage)
    progress(f"train: {folder.name} is already trained{_by_other_code(config, dataset, storage)}")
    return open_checkpoint(folder)


def _train(config: Recipe, dataset: PreparedDataset, storage: Folder, progress: ProgressReporter) -> Checkpoint:
    folder = checkpoint_folder(config, dataset, storage)
    if config.train.fit_on is FittedSplits.all:
        measured = train(with_fit_on(config, FittedSplits.train), dataset, storage, progress)
        return final_fit(config, measured, dataset, storage, progress)
    start = f", from the weights of {config.train.start_from}" if config.train.start_from else ""
    epochs, num_workers = config.train.num_epochs, config.train.num_workers
    progress(f"train: {folder.name}, up to {epochs} epochs on {num_workers} worker(s){start}")
    return fit_and_measure(config, dataset, storage, folder, progress)


def _by_other_code(config: Recipe, dataset: PreparedDataset, storage: Folder) -> str:
    """That other code has made the checkpoint, and how to train again; empty where the present code has."""
    folder = checkpoint_folder(config, dataset, storage)
    if is_of_present_code(folder):
        return ""
    names = _names(config, dataset, storage)
    if config.train.fit_on is FittedSplits.all:  # its report is that of the backtest
        names += [(kind, name + BACKTEST) for kind, name in names]
        measured = with_fit_on(config, FittedSplits.train)
        of_measured = checkpoint_folder(measured, dataset, storage)
        if is_sealed(of_measured) and not is_of_present_code(of_measured):
            names += _names(measured, dataset, storage)
    *made, last = (str(storage / kind / name) for kind, name in names)
    removed = f"{', '.join(made)} and {last}"
    return f", by another version of the code or its libraries; remove {removed} to train it again"


def _names(config: Recipe, dataset: PreparedDataset, storage: Folder) -> list[tuple[str, str]]:
    """The folders of a checkpoint and of its training, as pairs of what is above them and their names."""
    folder = checkpoint_folder(config, dataset, storage)
    return [("checkpoints", folder.name), ("training", training_name(config, dataset))]


def _check(config: Recipe, dataset: PreparedDataset) -> None:
    """Raises ConfigError, before anything is trained, if training or measuring would fail later."""
    check_recipe(config)
    check_goals(config.rerank.goals, dataset.event_types)
    num_fitted = num_examples(dataset, config.model, config.train.fit_on)
    if not num_fitted and config.model.history_encoder.trains_on_all_positions:
        raise ConfigError(
            f"model.history: {config.model.history} learns from what follows in a history, and no user has two"
            " interactions to fit on; set model.history=pooled, or change data.split"
        )
    if config.train.num_workers > num_fitted:
        what = "windows of histories" if config.model.history_encoder.trains_on_all_positions else "interactions"
        raise ConfigError(
            f"train.num_workers: {config.train.num_workers} are more than the {num_fitted} {what} to fit on, so"
            " that some would have none; set it to less"
        )
    if config.train.fit_on is FittedSplits.train and config.train.patience and not has_validation(config, dataset):
        raise ConfigError(f"train.patience: {_why_not_validated(dataset)} to stop early on; set train.patience=0")
    if config.train.fit_on is FittedSplits.all and not has_validation(config, dataset):
        raise ConfigError(
            "train.fit_on: all takes its number of epochs from a run that is validated, and"
            f" {_why_not_validated(dataset)}; change data.split, or set train.fit_on=train"
        )
    check_history_columns(config.model, dataset)
    check_context(config.model, dataset)
    check_queries(dataset, config.evaluate.seen)
    open_start(config, dataset)


def _why_not_validated(dataset: PreparedDataset) -> str:
    """What is not there to validate on, in words."""
    if not dataset.manifest["counts"][VALIDATION]:
        return "there is no validation part"
    return "the validation part has no user with an item there that is new to them"


def check_history_columns(model: ModelConfig, dataset: PreparedDataset) -> None:
    """Raises ConfigError if the log has none of what the towers take of a history beside its items."""
    if TIME in model.history_columns and not dataset.has_clock:
        raise ConfigError(
            f"model.history_time: {model.history_time.value} needs times, and the log of {dataset.manifest['name']} has"
            " none, only an order; set it to none, or data.clock=seconds if its numbers are seconds"
        )
    num_types = sum(map(is_positive, dataset.event_types.types.values()))
    if TYPE in model.history_columns and num_types < 2:
        raise ConfigError(
            f"model.history_types: the log of {dataset.manifest['name']} has {num_types} types of positive events, and"
            " nothing is learned from fewer than two; set it to false, or name the log's column in"
            " data.source.columns.type and the types in data.events"
        )


def check_context(model: ModelConfig, dataset: PreparedDataset) -> None:
    """Raises ConfigError if the towers are to take a context and the log has none."""
    if model.context and not dataset.context:
        raise ConfigError(
            f"model.context: true needs the context of interactions, and the log of {dataset.manifest['name']} has"
            " none; set it to false, or name the log's columns in data.source.columns.context (with data=events, the"
            " names in data.source.context)"
        )


def with_fit_on(config: Recipe, fit_on: FittedSplits) -> Recipe:
    """The same configuration, fitted on other splits."""
    root: Any = config  # a dataclass, as the root configuration is
    changed: Recipe = replace(root, train=replace(config.train, fit_on=fit_on))
    return changed


def made_by(config: Recipe, dataset: PreparedDataset, storage: Folder) -> list[Folder]:
    """The folders that `train` makes, be they there or not: checkpoints, and what it saves after each epoch."""
    checkpoint, training = checkpoint_folder(config, dataset, storage).name, training_name(config, dataset)
    made = [storage / "checkpoints" / checkpoint, storage / "training" / training]
    if config.train.fit_on is not FittedSplits.all:
        return made
    backtest = [storage / "checkpoints" / (checkpoint + BACKTEST), storage / "training" / (training + BACKTEST)]
    return [*made, *backtest, *made_by(with_fit_on(config, FittedSplits.train), dataset, storage)]
