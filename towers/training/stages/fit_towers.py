"""Fits both towers by Ray Train and embeds the catalogue once: the first stage of every training."""

from dataclasses import dataclass

import ray
import ray.train
import torch
from torch import Tensor

from data.artifacts.folders import Folder
from data.artifacts.structured import jsonable
from data.cluster.code_digest import CODE
from data.cluster.console import ProgressReporter
from data.cluster.machine import give_back_memory
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.opening.weights import load_weights
from towers.model.build import build_model, encode_catalogues, interaction_counts
from towers.model.config import FittedSplits
from towers.model.context import Context
from towers.model.smoothing import smooth
from towers.model.two_tower import TowerInputs, TwoTower, all_item_vectors
from towers.reranking.context import context_lift
from towers.reranking.reranker import Reranker
from towers.sweeps.trial import Pruned, current_trial, in_epochs
from towers.training.config import Recipe
from towers.training.epochs.shards import load_best_of_shards
from towers.training.job import Job
from towers.training.runs import present_code
from towers.training.stages.one_at_a_time import one_at_a_time
from towers.training.stages.saved_epochs import look_at_saved
from towers.training.trainer import shared_inputs, trainer


@dataclass(frozen=True, kw_only=True)
class FittedTowers:
    """Towers with their final weights, in eval mode on the CPU.

    Shape legend: I items (row 0 = unknown), D dimension.

    Attributes:
        fit_on: the splits that they were fitted on.
        users, items: the encoded catalogues that they were built from.
        item_vectors_ID: float32, all item vectors; row 0 is zero.
        context: the context features of requests; the re-ranker takes the same ones.
        totals: what Ray Train reported last: epochs, seconds, examples, losses.
        code: digest of the code that has trained them, MIXED where several versions of it have; None where an earlier
            version saved them, which did not write it.
    """

    fit_on: FittedSplits
    model: TwoTower
    users: TowerInputs
    items: TowerInputs
    item_vectors_ID: Tensor
    context: Context
    totals: dict[str, float]
    code: str | None

    def set_cold_length(self, length: float) -> None:
        """Gives the vectors of items without training data another length; before a re-ranker is made of them."""
        if length == self.model.cold_length:
            return
        self.model.cold_length = length
        self.item_vectors_ID.copy_(all_item_vectors(self.model))

    def unfitted_reranker(self, config: Recipe, dataset: PreparedDataset, context: Context | None = None) -> Reranker:
        """A re-ranker over these towers that returns retrieval scores until it is fitted.

        Args:
            context: the context features and their known values; None takes those of the towers.
        """
        splits = self.fit_on.splits
        torch.manual_seed(config.seed)
        is_carried = context is not None
        context = self.context if context is None else context
        counts_I = interaction_counts(dataset.items, self.fit_on)
        reranker = Reranker(config.rerank, self.item_vectors_ID, counts_I, self.items, context, is_carried=is_carried)
        if reranker.lift_VI is not None:
            reranker.lift_VI.copy_(torch.from_numpy(context_lift(context, dataset, splits)))
        return reranker


def fit_towers(
    config: Recipe,
    dataset: PreparedDataset,
    storage: Folder,
    name: str,
    fit_on: FittedSplits,
    epochs: int | None = None,
    context: Context | None = None,
    progress: ProgressReporter = print,
) -> FittedTowers:
    """Runs Ray Train to the end and returns the towers with the weights of the best epoch, smoothed if configured.

    Args:
        storage: where the epochs are saved; a training of the same name that was killed resumes there.
        fit_on: the splits to fit on; those of the config do not count.
        epochs: the number of epochs to run, out of the `train.epochs` that the learning rate's schedule spans; None
            runs all of them, or fewer where `train.stop_after` or `train.patience` ends the training early.
        context: the context features and their known values; None takes those of the fitted splits.
        progress: called with a line of text about another run that is waited for, and what it has saved.

    Raises:
        Pruned: this training is a trial of a sweep that ended it early.
    """
    users, items = encode_catalogues(dataset.users, dataset.items, fit_on)
    context = Context.of(dataset, fit_on.splits) if context is None else context
    shared = shared_inputs(dataset, users, items, config, fit_on, context)
    result = _run(_job(config, name, fit_on, epochs, shared), dataset, storage, progress)
    metrics = result.metrics or {}
    model = build_model(config.model, users, items, config.seed, context, dataset.event_type_names)
    _load_best(model, result, dataset, fit_on)
    return FittedTowers(
        fit_on=fit_on,
        model=model.eval(),
        users=users,
        items=items,
        item_vectors_ID=all_item_vectors(model),
        context=context,
        totals={key: value for key, value in metrics.items() if isinstance(value, int | float)},
        code=metrics.get(CODE),
    )


def _job(config: Recipe, name: str, fit_on: FittedSplits, epochs: int | None, shared: ray.ObjectRef) -> Job:
    """The job of a training; the arguments are those of `fit_towers`."""
    return Job(
        name=name,
        code=present_code(),
        seed=config.seed,
        fit_on=fit_on,
        epochs=epochs or config.train.num_epochs,
        is_reported=epochs is None,
        model=config.model,
        loss=config.loss,
        train=config.train,
        evaluate=config.evaluate,
        tracking=config.tracking,
        resolved=jsonable(config),
        trial=current_trial(),
        shared=shared,
    )


def _run(job: Job, dataset: PreparedDataset, storage: Folder, progress: ProgressReporter) -> ray.train.Result:
    """Runs Ray Train to the end; raises Pruned where the sweep ended the training.

    Trials that differ in the re-ranker alone, say, have the same towers: the first trains them, and the others, which
    would save epochs in the same place, wait and find them trained.
    """
    with one_at_a_time(storage, job.name, progress):
        look_at_saved(storage / "training" / job.name, job.code, job.epochs, progress)
        with in_epochs():
            result = trainer(job, dataset, storage).fit()
    if (metrics := result.metrics or {}).get("pruned"):
        best = metrics["best_value"]
        at_best = "" if best is None else f", {job.train.monitor} {best:.4g} at best"
        raise Pruned(f"after epoch {metrics['epoch']}{at_best}")
    return result


def _load_best(model: TwoTower, result: ray.train.Result, dataset: PreparedDataset, fit_on: FittedSplits) -> None:
    """Loads the weights of the best epoch, in place, and smooths them if configured."""
    checkpoint = result.checkpoint
    if model.config.divides_rows:
        load_best_of_shards(Folder(checkpoint.filesystem, checkpoint.path), model)
    else:
        with checkpoint.as_directory() as path:
            load_weights(model, Folder.of(path), "best.safetensors")
    if model.config.smoothing:
        smooth(model, dataset.sequences(*fit_on.splits, beside=model.config.history_columns))
    give_back_memory()
