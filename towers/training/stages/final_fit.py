"""The final fit, `train.fit_on=all`: what goes live has learned from every interaction, the newest included.

Nothing is left to measure such towers on, so the same procedure is measured one period earlier:

                 towers fitted on      epochs              re-ranker
    measured     train                 early stopping      fitted on validation
    backtest     train, validation     those of measured   carried over from measured; measured on test
    final        train ... test        those of measured   fitted on test over the backtest's towers, then carried over
                                                           (that of measured, where the one of test is not kept)

Where the measured training has kept no re-ranker, nor has the final fit, since the backtest has measured none.

`measured` is the checkpoint of the same config with `train.fit_on=train`; manifests name it `settled`.

The report of a final checkpoint is that of its backtest, which is sealed as a checkpoint of its own.
"""

from dataclasses import replace
from typing import Any

import torch

from data.artifacts.folders import Folder
from data.cluster.code_digest import CODE, joint_code
from data.cluster.console import ProgressReporter
from data.dataset.prepared import PreparedDataset
from data.dataset.split import TEST, TRAIN, VALIDATION
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.evaluation.decisions.popular_items import recent_of
from towers.evaluation.report import report_of
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.features import FeatureEncoder
from towers.model.tie_order import popularity
from towers.reranking.carry import carry_over
from towers.reranking.reranker import Reranker
from towers.training.config import Recipe
from towers.training.runs import checkpoint_folder, is_trained, present_code, training_name
from towers.training.stages.decide import DECIDED
from towers.training.stages.fit_towers import FittedTowers, fit_towers
from towers.training.stages.measured_again import MEASURED_BY
from towers.training.stages.measured_fit import fit_reranker_on, measured_report, seal, ties_of

BACKTEST = "-backtest"
"""Suffix of the name of a final checkpoint that gives the name of its backtest."""


def final_fit(
    config: Recipe, measured: Checkpoint, dataset: PreparedDataset, storage: Folder, progress: ProgressReporter
) -> Checkpoint:
    """Fits the backtest and then the final towers, and seals a checkpoint of each.

    Args:
        measured: the checkpoint of the same config with `train.fit_on=train`.
    """
    config = _with_goals_in_order(config, measured)
    folder, name = checkpoint_folder(config, dataset, storage), training_name(config, dataset)
    epochs = int(measured.manifest["training"]["best_epoch"])
    progress(f"train: {folder.name}, {epochs} epochs as in {measured.name}, first the backtest without the test part")
    context = measured.reranker.context if config.model.context else None  # the towers and all re-rankers share one
    before_test = FittedSplits.train_validation
    earlier = fit_towers(config, dataset, storage, name + BACKTEST, before_test, epochs, context, progress)
    earlier.model.places_by_features = measured.model.places_by_features
    earlier.set_cold_length(measured.model.cold_length)
    backtest_folder = storage / "checkpoints" / (folder.name + BACKTEST)
    backtest = _sealed_backtest(backtest_folder, measured, epochs)
    if backtest is None:
        backtest = _backtest(config, measured, dataset, earlier, backtest_folder)
    of_test = earlier.unfitted_reranker(config, dataset)
    if measured.reranker.is_fitted:
        ties = ties_of(dataset, backtest.folder)
        _, said = fit_reranker_on(earlier, of_test, dataset, TEST, config, ties, backtest.popularity_I)
        progress(f"re-ranker{said}")
    progress(f"train: {folder.name}, {epochs} epochs on all interactions")
    final = fit_towers(config, dataset, storage, name, FittedSplits.all, epochs, context, progress)
    final.set_cold_length(measured.model.cold_length)
    if of_test.is_fitted:
        reranker = _carried(config, of_test, earlier.items.encoder, earlier.fit_on, dataset, final)
    else:
        kept = "that of" if measured.reranker.is_fitted else "none, which nobody would have measured, as in"
        progress(f"re-ranker: {kept} {measured.name}")
        reranker = _carried(config, measured.reranker, _known(measured), FittedSplits.train, dataset, final)
    more = report_of(backtest.manifest).as_json() | {
        "backtest": str(backtest.folder),
        "settled": str(measured.folder),
        "training": final.totals,
        CODE: _code(final, backtest, measured),
        MEASURED_BY: backtest.manifest.get(MEASURED_BY),  # the report is of the backtest, perhaps by an earlier command
        **decided_of(measured),
    }
    recent_I = recent_of(dataset, FittedSplits.all, recent_share(measured))
    return seal(folder, config, dataset, final, reranker, name, FittedSplits.all.splits, more, recent_I)


def _with_goals_in_order(config: Recipe, measured: Checkpoint) -> Recipe:
    """The config with its goals in the order in which the measured re-ranker has a head for each.

    The order on the command line, or in a yaml, makes no other checkpoint, and heads are carried over by their place.
    """
    root: Any = config  # a dataclass, as the root configuration is
    goals = config.rerank.goals
    in_order = {name: goals[name] for name in measured.reranker.config.goals}
    changed: Recipe = replace(root, rerank=replace(config.rerank, goals=in_order))
    return changed


def _code(towers: FittedTowers, *made_of: Checkpoint) -> str:
    """The code that has made towers and the checkpoints that the final fit takes something over from."""
    return joint_code(present_code(), towers.code, *(one.manifest.get(CODE) for one in made_of))


def decided_of(measured: Checkpoint) -> dict[str, Any]:
    """What the measured training decided on the validation part, which the final fit keeps."""
    return {name: measured.manifest[name] for name in DECIDED if name in measured.manifest}


def recent_share(measured: Checkpoint) -> float | None:
    """The share of the latest interactions by which items are popular; None where all interactions count."""
    share: float | None = measured.manifest.get("popular_items", {}).get("recent_share")
    return share


def _sealed_backtest(folder: Folder, measured: Checkpoint, epochs: int) -> Checkpoint | None:
    """The backtest of an earlier run; None where there is none, or the measured training has become another since."""
    if not is_trained(folder):
        return None
    backtest = open_checkpoint(folder)
    has_same = backtest.manifest["training"]["epoch"] == epochs and decided_of(backtest) == decided_of(measured)
    return backtest if has_same else None


def _backtest(
    config: Recipe, measured: Checkpoint, dataset: PreparedDataset, towers: FittedTowers, folder: Folder
) -> Checkpoint:
    """Seals the backtest with its report, which stands for that of the final towers."""
    reranker = _carried(config, measured.reranker, _known(measured), FittedSplits.train, dataset, towers)
    recent_I = recent_of(dataset, towers.fit_on, recent_share(measured))
    popularity_I = popularity(interaction_counts(dataset.items, towers.fit_on), recent_I)
    report = measured_report(towers, reranker, dataset, config, ties_of(dataset, folder), popularity_I)
    note = (
        f"A backtest of the final fit: towers fitted on {TRAIN} and {VALIDATION}, with the epochs and the re-ranker of"
        f" {measured.name}. The final towers have seen the {TEST} part."
    )
    more = report.as_json() | {
        "notes": [note, *report.notes],
        "settled": str(measured.folder),
        "training": towers.totals,
        CODE: _code(towers, measured),
        **decided_of(measured),
    }
    name = training_name(config, dataset) + BACKTEST
    return seal(folder, config, dataset, towers, reranker, name, towers.fit_on.splits, more, recent_I)


def _carried(
    config: Recipe,
    source: Reranker,
    known: FeatureEncoder,
    fit_on: FittedSplits,
    dataset: PreparedDataset,
    towers: FittedTowers,
) -> Reranker:
    """The re-ranker `source`, of towers that were fitted on `fit_on`, over other towers of the same dataset.

    Args:
        known: what the towers of `source` know of the items' features.
    """
    reranker = towers.unfitted_reranker(config, dataset, context=source.context)
    fitted_I = torch.from_numpy(interaction_counts(dataset.items, fit_on) > 0)
    carry_over(source, reranker, fitted_I, known, towers.items.encoder)
    return reranker


def _known(checkpoint: Checkpoint) -> FeatureEncoder:
    """What the towers of a checkpoint know of the items' features."""
    return FeatureEncoder.of_json(checkpoint.items, checkpoint.manifest["item_scales"])
