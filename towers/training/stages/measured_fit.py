"""The fit that is measured: towers, re-ranker fitted on the validation part, and a report on the test part."""

from typing import Any

import torch
from torch import Tensor

from data.artifacts.folders import Folder
from data.artifacts.structured import jsonable
from data.cluster.console import ProgressReporter
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TRAIN, VALIDATION
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint, save
from towers.checkpoint.lineage import lineage
from towers.evaluation.measure import evaluate, measure
from towers.evaluation.metrics import hits
from towers.evaluation.queries import HeldOut
from towers.evaluation.ranking import lists_of
from towers.model.build import FittedSplits
from towers.reranking.reranker import Reranker
from towers.training.job import Recipe
from towers.training.runs import training_name
from towers.training.stages.fit_reranker import fit_reranker, too_few_hits
from towers.training.stages.fit_towers import FittedTowers, fit_towers, newest_time
from towers.training.tracking import run_reference


def has_validation(config: Recipe, dataset: PreparedDataset) -> bool:
    """Whether there is a validation part that the towers are not fitted on."""
    fits_on_it = config.train.fit_on is FittedSplits.train_validation
    return not fits_on_it and bool(dataset.manifest["counts"][VALIDATION])


def fit_and_measure(
    config: Recipe, dataset: PreparedDataset, storage: Folder, folder: Folder, progress: ProgressReporter
) -> Checkpoint:
    """Fits on `train.fit_on`, which leaves the test part out, measures on the test part and seals the checkpoint.

    The re-ranker is fitted on the validation part; where the towers are fitted on that part too, it stays unfitted.

    Args:
        folder: of the checkpoint.
    """
    name = training_name(config, dataset)
    towers = fit_towers(config, dataset, storage, name, config.train.fit_on)
    reranker, totals = towers.unfitted_reranker(config, dataset), dict(towers.totals)
    if has_validation(config, dataset):
        held_out = HeldOut.of(dataset, VALIDATION)
        measured, said = fit_reranker_on(towers, reranker, dataset, held_out, config)
        totals["best_value"] = measured[config.train.monitor]  # with smoothing it differs from that of the best epoch
        progress(f"re-ranker{said}")
    else:
        progress("re-ranker: not fitted, there is no validation part that the towers were not fitted on")
    report = evaluate(
        towers.model, reranker, dataset, config.train.fit_on, config.evaluate, towers.item_vectors_ID
    ).as_json()
    return seal(folder, config, dataset, towers, reranker, name, (TRAIN, VALIDATION), report | {"training": totals})


def fit_reranker_on(
    towers: FittedTowers, reranker: Reranker, dataset: PreparedDataset, held_out: HeldOut, config: Recipe
) -> tuple[dict[str, float], str]:
    """Fits the re-ranker in place to the candidates that the towers retrieve for held-out queries.

    Returns:
        The metrics of retrieval on these queries, and a text: the re-ranker's nDCG on held-out queries by stage, or why
        it was not fitted.
    """
    queries, found, counts_I = towers.retrieved(dataset, held_out, config.evaluate.batch_size)
    hit_QK = hits(found.rows_QK, held_out.relevant, len(counts_I))
    by_towers: Tensor = torch.from_numpy(found.by_towers_Q.nonzero()[0])
    lists = lists_of(queries, found, held_out, reranker.context)
    hit_BK = torch.from_numpy(hit_QK)[by_towers]
    fitted = fit_reranker(reranker, lists[by_towers], hit_BK, config.seed)
    measured = measure(found, held_out, len(counts_I), list(config.evaluate.ks))
    if not fitted:
        return measured, f": not fitted, {too_few_hits(hit_BK, len(held_out.user_rows_Q))}"
    return measured, ", ndcg@10 on held-out queries: " + "  ".join(f"{k} {v:.4f}" for k, v in fitted.items())


def seal(
    folder: Folder,
    config: Recipe,
    dataset: PreparedDataset,
    towers: FittedTowers,
    reranker: Reranker,
    training: str,
    seen: tuple[str, ...],
    more: dict[str, Any],
) -> Checkpoint:
    """Seals a checkpoint and opens it.

    Args:
        training: the name of the towers' training.
        seen: the splits whose interactions make up the users' histories.
        more: what its manifest says beyond its training: the report and the training's totals.
    """
    resolved = jsonable(config)
    manifest = {
        "model": resolved["model"],
        "rerank": resolved["rerank"],
        "fit_on": towers.fit_on.value,
        "config": {name: resolved[name] for name in ("data", "model", "loss", "train", "rerank", "seed")},
        "dataset": {"name": config.data.name, "fingerprint": dataset.fingerprint, "folder": str(dataset.folder)},
        "lineage": lineage(run_reference(config.tracking, training)),
        "newest_interaction": newest_time(dataset, towers.fit_on.splits),
        "reranker_is_carried": reranker.is_carried,
    }
    encoders = (towers.users.encoder, towers.items.encoder)
    save(folder, manifest | more, towers.model, reranker, dataset, encoders, dataset.sequences(*seen))
    return open_checkpoint(folder)
