"""Trains both towers and the re-ranker, and seals them as a checkpoint with what was measured.

The driver encodes the catalogues, lets Ray Train fit the towers, fits the re-ranker on the validation part and measures
both on the test part. A training that was killed resumes from its last complete epoch and ends with the same weights.
"""

from typing import Any

import numpy as np
import ray.train
import torch
from torch import Tensor

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.seals import is_sealed
from data.artifacts.structured import jsonable
from data.cluster.console import ProgressReporter
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TRAIN, VALIDATION
from towers.checkpoint.checkpoint import Checkpoint, load_weights, open_checkpoint, save
from towers.checkpoint.lineage import lineage
from towers.evaluation.measure import evaluate, measure
from towers.evaluation.metrics import hits
from towers.evaluation.placement import UNDECIDED, FeaturePlacement, decide_placement
from towers.evaluation.queries import HeldOut, HeldOutInteractions, queries_of
from towers.evaluation.ranking import QueryVectors, Ranking, embed, lists_of, retrieve
from towers.model.build import FittedSplits, build_model, encode_catalogues, interaction_counts
from towers.model.smoothing import smooth
from towers.model.tie_order import TieOrder, tie_seed
from towers.model.two_tower import TowerInputs, TwoTower, all_item_vectors
from towers.reranking.context import Context, context_lift
from towers.reranking.queries import RerankQueries
from towers.reranking.reranker import Reranker
from towers.sweeps.trial import Pruned, current_trial
from towers.training.config import check
from towers.training.fit_reranker import fit_reranker
from towers.training.job import Job, Recipe
from towers.training.runs import checkpoint_folder, training_name
from towers.training.tracking import run_reference
from towers.training.trainer import shared_inputs, trainer


def train(config: Recipe, dataset: PreparedDataset, storage: Folder, progress: ProgressReporter = print) -> Checkpoint:
    """Trains and seals a checkpoint, or opens the one of an equal run that is already complete.

    Each catalogue is encoded once, and the items are embedded once, with the final weights.

    Args:
        config: everything that decides the training.
        storage: where artifacts are kept; the checkpoint goes to its folder `checkpoints`.
        progress: called with a line of text about each step.

    Raises:
        ConfigError: parts of the configuration do not go together, or the dataset has nothing to measure on.
        Pruned: this training is a trial of a sweep that ended it early.
    """
    folder = checkpoint_folder(config, dataset, storage)
    if is_sealed(folder):
        progress(f"train: {folder.name} is already trained")
        return open_checkpoint(folder)
    _check(config, dataset)
    progress(f"train: {folder.name}, up to {config.train.epochs} epochs on {config.train.num_workers} worker(s)")
    fit_on = config.train.fit_on
    users, items = encode_catalogues(dataset.users, dataset.items, fit_on)
    result = _fit_towers(config, dataset, users, items, storage)
    model = _best_model(config, dataset, users, items, result)
    item_vectors_ID = all_item_vectors(model)
    reranker = _unfitted_reranker(config, dataset, items, item_vectors_ID)
    ties = TieOrder.of(len(item_vectors_ID), tie_seed(folder.name))
    totals = {name: value for name, value in (result.metrics or {}).items() if isinstance(value, int | float)}
    placement = UNDECIDED
    if _has_validation(config, dataset):
        totals["best_value"], placement, fitted = _validate(model, reranker, item_vectors_ID, dataset, config, ties)
        progress(f"users without training data: {placement}")
        progress("re-ranker, ndcg@10 on held-out queries: " + "  ".join(f"{k} {v:.4f}" for k, v in fitted.items()))
    report = evaluate(model, reranker, dataset, fit_on, config.evaluate, item_vectors_ID, ties)
    decided = {"tie_seed": tie_seed(folder.name), "placement": placement.as_json()}
    manifest = _manifest(config, dataset, totals) | decided | report.as_json()
    seen = dataset.sequences(TRAIN, VALIDATION)
    save(folder, manifest, model, reranker, dataset, (users.encoder, items.encoder), seen)
    return open_checkpoint(folder)


def _check(config: Recipe, dataset: PreparedDataset) -> None:
    """Raises ConfigError, before anything is trained, if training or measuring would fail later."""
    check(config.model, config.loss, config.train)
    if config.train.patience and config.train.fit_on is FittedSplits.train and not _has_validation(config, dataset):
        raise ConfigError("train.patience: there is no validation part to stop early on; set train.patience=0")
    queries_of(dataset)


def _has_validation(config: Recipe, dataset: PreparedDataset) -> bool:
    """Whether there is a validation part that the towers are not fitted on."""
    return config.train.fit_on is FittedSplits.train and bool(dataset.manifest["counts"][VALIDATION])


def _fit_towers(
    config: Recipe, dataset: PreparedDataset, users: TowerInputs, items: TowerInputs, storage: Folder
) -> ray.train.Result:
    """Runs Ray Train to the end; the result holds the best weights."""
    job = Job(
        name=training_name(config, dataset),
        seed=config.seed,
        model=config.model,
        loss=config.loss,
        train=config.train,
        evaluate=config.evaluate,
        tracking=config.tracking,
        resolved=jsonable(config),
        trial=current_trial(),
        shared=shared_inputs(dataset, users, items, config.model, config.train, config.seed),
    )
    result = trainer(job, dataset, storage).fit()
    if (metrics := result.metrics or {}).get("pruned"):
        best = metrics["best_value"]
        at_best = "" if best is None else f", {config.train.monitor} {best:.4g} at best"
        raise Pruned(f"after epoch {metrics['epoch']}{at_best}")
    return result


def _best_model(
    config: Recipe, dataset: PreparedDataset, users: TowerInputs, items: TowerInputs, result: ray.train.Result
) -> TwoTower:
    """The towers with the weights of the best epoch, smoothed if configured, in eval mode."""
    model = build_model(config.model, users, items, seed=config.seed)
    with result.checkpoint.as_directory() as path:
        load_weights(model, Folder.of(path), "best.safetensors")
    if config.model.smoothing:
        smooth(model, dataset.sequences(*config.train.fit_on.splits))
    return model.eval()


def _unfitted_reranker(
    config: Recipe, dataset: PreparedDataset, items: TowerInputs, item_vectors_ID: Tensor
) -> Reranker:
    splits = config.train.fit_on.splits
    torch.manual_seed(config.seed)
    context, counts_I = Context.of(dataset, splits), interaction_counts(dataset.items, config.train.fit_on)
    reranker = Reranker(config.rerank, item_vectors_ID, counts_I, items, context)
    if reranker.lift_VI is not None:
        reranker.lift_VI.copy_(torch.from_numpy(context_lift(context, dataset, splits)))
    return reranker


def _validate(
    model: TwoTower,
    reranker: Reranker,
    item_vectors_ID: Tensor,
    dataset: PreparedDataset,
    config: Recipe,
    ties: TieOrder,
) -> tuple[float, FeaturePlacement, dict[str, float]]:
    """Measures the final towers on the validation part, and fits the re-ranker to the candidates retrieved for it.

    Before that, it decides whether users without training data are placed by their features, and sets the model so.

    Returns:
        The value of `train.monitor` (with smoothing it differs from that of the best epoch), the decision, and the
        re-ranker's nDCG on held-out queries by stage, as `fit_reranker` returns it.
    """
    held_out, num_items = HeldOut.of(dataset, VALIDATION), len(dataset.items.ids)
    counts_I, batch_size = interaction_counts(dataset.items, FittedSplits.train), config.evaluate.batch_size
    queries = embed(model, held_out, batch_size)
    k, resamples = config.evaluate.k, config.evaluate.resamples
    placement = decide_placement(model, queries, held_out, counts_I, item_vectors_ID, k, batch_size, resamples, ties)
    model.places_by_features = placement.by_features
    if placement.by_features:
        queries = embed(model, held_out, batch_size)
    found = retrieve(queries, held_out, counts_I, item_vectors_ID, batch_size, ties=ties)
    value = measure(found, held_out, num_items, list(config.evaluate.ks))[config.train.monitor]
    interactions = HeldOutInteractions.of(dataset, VALIDATION, held_out)
    to_fit = _rerank_queries(reranker, queries, found, held_out, interactions, config.seed)
    return value, placement, fit_reranker(reranker, to_fit, config.seed)


def _rerank_queries(
    reranker: Reranker,
    queries: QueryVectors,
    found: Ranking,
    held_out: HeldOut,
    interactions: HeldOutInteractions,
    seed: int,
) -> RerankQueries:
    """The interactions of users whom the towers place, as queries to fit the re-ranker on; `seed` draws the sample."""
    by_towers = found.by_towers_Q[interactions.query_N].nonzero()[0]
    drawn = np.random.default_rng(seed).permutation(by_towers)[: reranker.config.max_queries]
    interactions, lists = interactions.take(drawn), lists_of(queries, found, held_out, reranker.context)
    hit_QK = hits(found.rows_QK, held_out.relevant, len(reranker.item_vectors_ID))
    context_BC = reranker.context.encode(interactions.context_N)
    arrays = (hit_QK, interactions.query_N, interactions.item_rows_N, context_BC)
    return RerankQueries.of_interactions(lists, *map(torch.from_numpy, arrays))


def _manifest(config: Recipe, dataset: PreparedDataset, totals: dict[str, Any]) -> dict[str, Any]:
    """The part of the checkpoint's manifest that describes its training, as JSON values."""
    resolved = jsonable(config)
    return {
        "model": resolved["model"],
        "rerank": resolved["rerank"],
        "fit_on": config.train.fit_on.value,
        "config": {name: resolved[name] for name in ("data", "model", "loss", "train", "rerank", "seed")},
        "dataset": {"name": config.data.name, "fingerprint": dataset.fingerprint, "folder": str(dataset.folder)},
        "lineage": lineage(run_reference(config.tracking, training_name(config, dataset))),
        "training": totals,
    }
