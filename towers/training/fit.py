"""Training both towers with Ray Train: `python -m towers.train data=movietweetings data.source.path=...`.

The driver prepares the dataset, lets Ray Train fit the towers, fits the re-ranker on validation, measures both on the
test part, and seals all of it as a checkpoint. Run again after a kill, the same command goes on from the last whole
epoch and ends with the same weights.
"""

from typing import Any

import ray.train
import torch

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
from towers.evaluation.queries import HeldOut, queries_of
from towers.evaluation.ranking import embed, lists_of, retrieve
from towers.model.build import FitOn, build, fit_counts
from towers.model.smoothing import smooth
from towers.model.two_tower import TwoTower, all_item_vectors
from towers.reranking.context import Context, lift
from towers.reranking.reranker import Reranker
from towers.sweeps.trial import Pruned, current
from towers.training.config import check
from towers.training.fit_reranker import fit
from towers.training.job import Job, Recipe
from towers.training.runs import checkpoint_folder, training_name
from towers.training.tracking import run_reference
from towers.training.trainer import large, sides, trainer


def train(config: Recipe, dataset: PreparedDataset, storage: Folder, progress: ProgressReporter = print) -> Checkpoint:
    """Trains and seals a checkpoint; where a whole one of the same run exists, opens it instead."""
    folder = checkpoint_folder(config, dataset, storage)
    if is_sealed(folder):
        progress(f"train: {folder.name} is already trained")
        return open_checkpoint(folder)
    check(config.model, config.loss, config.train)
    has_validation = config.train.fit_on is FitOn.train and bool(dataset.manifest["counts"][VALIDATION])
    if config.train.patience and config.train.fit_on is FitOn.train and not has_validation:
        raise ConfigError("train.patience: there is no validation part to stop early on; set train.patience=0")
    queries_of(dataset)  # raises where nothing could be measured in the end
    progress(f"train: {folder.name}, up to {config.train.epochs} epochs on {config.train.num_workers} worker(s)")
    result = _fit_towers(config, dataset, storage)
    model = _best_model(config, dataset, result)
    counts_I = fit_counts(dataset.items, config.train.fit_on)
    torch.manual_seed(config.seed)
    _, items = sides(dataset, config.train.fit_on)
    context = Context.of(dataset, config.train.fit_on.splits)
    reranker = Reranker(config.rerank, all_item_vectors(model).clone(), counts_I, items, context)
    if reranker.lift_VI is not None:
        reranker.lift_VI.copy_(torch.from_numpy(lift(context, dataset, config.train.fit_on.splits)))
    totals = {name: value for name, value in (result.metrics or {}).items() if isinstance(value, int | float)}
    if has_validation:
        totals["best_value"], fitted = _validate(model, reranker, dataset, config)
        progress("re-ranker, ndcg@10 on held-out queries: " + "  ".join(f"{k} {v:.4f}" for k, v in fitted.items()))
    report = evaluate(model, reranker, dataset, config.train.fit_on, config.evaluate)
    manifest = _manifest(config, dataset, totals) | report.as_json()
    save(folder, manifest, model, reranker, dataset, dataset.sequences(TRAIN, VALIDATION))
    return open_checkpoint(folder)


def _fit_towers(config: Recipe, dataset: PreparedDataset, storage: Folder) -> ray.train.Result:
    job = Job(
        name=training_name(config, dataset),
        seed=config.seed,
        model=config.model,
        loss=config.loss,
        train=config.train,
        evaluate=config.evaluate,
        tracking=config.tracking,
        resolved=jsonable(config),
        trial=current(),
        large=large(dataset, config.model, config.train, config.seed),
    )
    result = trainer(job, dataset, storage).fit()
    if (metrics := result.metrics or {}).get("pruned"):
        best = metrics["best_value"]
        at_best = "" if best is None else f", {config.train.monitor} {best:.4g} at best"
        raise Pruned(f"after epoch {metrics['epoch']}{at_best}")
    return result


def _best_model(config: Recipe, dataset: PreparedDataset, result: ray.train.Result) -> TwoTower:
    model = build(config.model, *sides(dataset, config.train.fit_on), seed=config.seed)
    with result.checkpoint.as_directory() as path:
        load_weights(model, Folder.of(path), "best.safetensors")
    if config.model.smoothing:
        smooth(model, dataset.sequences(*config.train.fit_on.splits))
    return model.eval()


def _validate(
    model: TwoTower, reranker: Reranker, dataset: PreparedDataset, config: Recipe
) -> tuple[float, dict[str, float]]:
    """On the validation part: the value by `train.monitor` of the towers as they are saved, smoothed ones included, and
    the re-ranker's fit, to candidates as retrieval returns them from what was known before it.
    """
    held_out, num_items = HeldOut.of(dataset, VALIDATION), len(dataset.items.ids)
    counts_I, batch_size = fit_counts(dataset.items, FitOn.train), config.evaluate.batch_size
    queries = embed(model, held_out, batch_size)
    found = retrieve(queries, held_out, counts_I, reranker.item_ID, batch_size)
    value = measure(found, held_out, num_items, list(config.evaluate.ks))[config.train.monitor]
    hit_QK = hits(found.rows_QK, held_out.relevant, num_items)
    by_towers = torch.from_numpy(found.by_towers_Q.nonzero()[0])
    lists = lists_of(queries, found, held_out, reranker.context)
    return value, fit(reranker, lists[by_towers], torch.from_numpy(hit_QK)[by_towers], config.seed)


def _manifest(config: Recipe, dataset: PreparedDataset, totals: dict[str, Any]) -> dict[str, Any]:
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
