"""The fit that is measured: towers, re-ranker fitted on the validation part, and a report on the test part."""

from dataclasses import replace
from typing import Any

import numpy as np

from data.artifacts.folders import Folder
from data.artifacts.plugins import recorded
from data.artifacts.secrets import recordable
from data.artifacts.structured import jsonable
from data.cluster.code_digest import CODE, joint_code
from data.cluster.console import ProgressReporter
from data.cluster.machine import give_back_memory
from data.dataset.preparation import refuse_replaced
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TRAIN, VALIDATION
from data.sources.schema import SPLITS
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint, save
from towers.checkpoint.freshness import histories_until, newest_time
from towers.checkpoint.lineage import lineage
from towers.evaluation.measure import evaluate, measure
from towers.evaluation.queries import HeldOut, has_queries
from towers.evaluation.ranking import QueryVectors, Ranking, embed, retrieve
from towers.evaluation.report import Report
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.tie_order import TieOrder, popularity, tie_seed
from towers.reranking.reranker import Reranker
from towers.training.config import Recipe
from towers.training.runs import present_code, training_name
from towers.training.stages.decide import UNDECIDED_NOTE, Decisions, decide, has_unfitted
from towers.training.stages.fit_reranker import GOAL, fit_reranker, too_few_hits
from towers.training.stages.fit_towers import FittedTowers, fit_towers
from towers.training.stages.measured_again import MEASURED_BY, measured_by
from towers.training.stages.rerank_queries import queries_to_fit
from towers.training.tracking import run_reference

WORSE = "; it orders them worse than retrieval and is not kept"
"""What is said of a re-ranker that was fitted in vain (`fit_reranker`)."""


def has_validation(config: Recipe, dataset: PreparedDataset) -> bool:
    """Whether there are queries of a validation part that the towers are not fitted on."""
    fits_on_it = config.train.fit_on is FittedSplits.train_validation
    return not fits_on_it and has_queries(dataset, VALIDATION, config.evaluate.seen)


def fit_and_measure(
    config: Recipe, dataset: PreparedDataset, storage: Folder, folder: Folder, progress: ProgressReporter
) -> Checkpoint:
    """Fits on `train.fit_on`, which leaves the test part out, measures on the test part and seals the checkpoint.

    The validation part decides how items without training data compete with the others, whether users without
    training data are placed by their features, and what is popular, and the re-ranker is fitted on it; where the towers
    are fitted on that part too, nothing of this is done.

    Args:
        folder: of the checkpoint.
    """
    name, ties = training_name(config, dataset), ties_of(dataset, folder)
    towers = fit_towers(config, dataset, storage, name, config.train.fit_on, progress=progress)
    is_validated, totals = has_validation(config, dataset), dict(towers.totals)
    counts_I = interaction_counts(dataset.items, towers.fit_on)
    decided = Decisions.neutral(counts_I, towers.fit_on)
    if is_validated:
        decided = decide(towers, dataset, config, ties)
        give_back_memory()
    leaves_open = towers.fit_on is FittedSplits.train_validation and has_unfitted(dataset, towers.fit_on)
    for line in decided.lines() if is_validated or leaves_open else ():
        progress(line)
    popularity_I = popularity(counts_I, decided.recent_I)
    reranker = towers.unfitted_reranker(config, dataset)
    if is_validated:
        measured, said = fit_reranker_on(towers, reranker, dataset, VALIDATION, config, ties, popularity_I)
        totals["best_value"] = measured[config.train.monitor]  # with smoothing it differs from that of the best epoch
        progress(f"re-ranker{said}")
        give_back_memory()
    else:
        progress("re-ranker: not fitted, there is no validation part that the towers were not fitted on")
    report = measured_report(towers, reranker, dataset, config, ties, popularity_I)
    if leaves_open:
        report = replace(report, notes=[UNDECIDED_NOTE, *report.notes])
    more = report.as_json() | {"training": totals} | decided.as_json()
    return seal(folder, config, dataset, towers, reranker, name, known_splits(dataset), more, decided.recent_I)


def known_splits(dataset: PreparedDataset) -> tuple[str, ...]:
    """The splits whose interactions make up the histories of a measured checkpoint: those before the test part.

    Of the events of an endpoint, all of them where no moment divides the splits. The endpoint adds to a history what
    it lacks, and could not tell a user's latest events, which are in the test part, from those that are there already.
    """
    has_events = dataset.manifest.get("events_until_us") is not None
    return SPLITS if has_events and not dataset.manifest.get("boundaries") else (TRAIN, VALIDATION)


def ties_of(dataset: PreparedDataset, folder: Folder) -> TieOrder:
    """The order of items with equal scores that belongs to the checkpoint in a folder."""
    return TieOrder.of(dataset.items.num_rows, tie_seed(folder.name))


def measured_report(
    towers: FittedTowers,
    reranker: Reranker,
    dataset: PreparedDataset,
    config: Recipe,
    ties: TieOrder,
    popularity_I: np.ndarray,
) -> Report:
    """Measures towers and re-ranker on the test part."""
    vectors_ID, orders = towers.item_vectors_ID, (ties, popularity_I)
    return evaluate(towers.model, reranker, dataset, towers.fit_on, config.evaluate, vectors_ID, *orders)


def fit_reranker_on(
    towers: FittedTowers,
    reranker: Reranker,
    dataset: PreparedDataset,
    split: str,
    config: Recipe,
    ties: TieOrder,
    popularity_I: np.ndarray,
) -> tuple[dict[str, float], str]:
    """Fits the re-ranker in place to the candidates that the towers retrieve for the queries of a held-out split.

    Returns:
        The metrics of retrieval on these queries, and a text: the re-ranker's nDCG by stage, and why it was not kept or
        fitted, where that is so.
    """
    most, beside = config.train.validation_users, config.model.history_columns
    held_out = HeldOut.of(dataset, split, config.evaluate.seen, beside, most)
    batch_size, takes_context = config.evaluate.batch_size, towers.model.context_values is not None

    def retrieved(asked: HeldOut) -> tuple[QueryVectors, Ranking]:
        queries = embed(towers.model, asked, batch_size)
        return queries, retrieve(queries, asked, popularity_I, towers.item_vectors_ID, batch_size, ties=ties)

    of_users = retrieved(held_out)
    by_context = retrieved if takes_context else None
    to_fit = queries_to_fit(reranker, dataset, split, held_out, of_users, by_context, config.seed)
    fitted = fit_reranker(reranker, to_fit, config.seed)
    measured = measure(of_users[1], held_out, len(popularity_I), list(config.evaluate.ks))
    if not fitted:
        return measured, f": not fitted, {too_few_hits(to_fit, len(held_out.user_rows_Q), split)}"
    return measured, _said(fitted) + ("" if reranker.is_fitted else WORSE)


def _said(fitted: dict[str, float]) -> str:
    """What `fit_reranker` returned, as a text."""
    ndcg = {name: value for name, value in fitted.items() if not name.startswith(GOAL)}
    goals = {name.removeprefix(GOAL): value for name, value in fitted.items() if name.startswith(GOAL)}
    said = ", ndcg@10 on held-out queries: " + "  ".join(f"{k} {v:.4f}" for k, v in ndcg.items())
    if goals:
        said += "; cross-entropy of each goal over that of one probability for all: "
        said += "  ".join(f"{k} {v:.4f}" for k, v in goals.items())
    return said


def seal(
    folder: Folder,
    config: Recipe,
    dataset: PreparedDataset,
    towers: FittedTowers,
    reranker: Reranker,
    training: str,
    seen: tuple[str, ...],
    more: dict[str, Any],
    recent_I: np.ndarray | None,
) -> Checkpoint:
    """Seals a checkpoint and opens it; raises NotSealed where its dataset has been replaced meanwhile.

    Args:
        training: the name of the towers' training.
        seen: the splits whose interactions make up the users' histories, and what they have seen.
        more: what its manifest says beyond its training: the report and the training's totals, and what it says
            otherwise than a training alone would.
        recent_I: int64, interactions of each item among the latest ones, where popular items are ordered by these.
    """
    refuse_replaced(dataset)
    resolved = recordable(jsonable(config))
    manifest = {
        "model": resolved["model"],
        "rerank": resolved["rerank"],
        "fit_on": towers.fit_on.value,
        "config": {name: resolved[name] for name in ("data", "model", "loss", "train", "rerank", "seed")},
        "dataset": {
            "name": config.data.name,
            "fingerprint": dataset.fingerprint,
            "folder": str(dataset.folder),
            **dataset.log_read,
            **dataset.events_until(*seen),
            **histories_until(dataset, seen),
        },
        "lineage": lineage(run_reference(config.tracking, training)),
        "plugins": recorded(),
        CODE: joint_code(present_code(), towers.code),
        MEASURED_BY: measured_by(config.evaluate),
        "newest_interaction": newest_time(dataset, towers.fit_on.splits),
        "reranker_is_carried": reranker.is_carried,
        "tie_seed": tie_seed(folder.name),
    }
    encoders = (towers.users.encoder, towers.items.encoder)
    if dataset.event_types:
        manifest["event_types"] = dataset.event_types.as_manifest()
    items_seen = dataset.seen_in_parts(*seen) if dataset.event_types else None
    history = dataset.sequences_in_parts(*seen, beside=config.model.history_columns)
    save(folder, manifest | more, towers.model, reranker, dataset, encoders, history, items_seen, recent_I)
    return open_checkpoint(folder)
