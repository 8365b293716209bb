"""Popular items on the test part of a checkpoint whose own report lacks them: what any model should beat.

A search measures no baselines beside its trials (`evaluate.baselines=[]`), and the best of them may be published.
"""

from data.artifacts.seals import named_in
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.backtest import measurable
from towers.checkpoint.checkpoint import Checkpoint
from towers.evaluation.config import EvaluateConfig, SeenItems
from towers.evaluation.measure import measure
from towers.evaluation.queries import queries_of
from towers.evaluation.ranking import rank_by_popularity
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits
from towers.model.tie_order import TieOrder
from towers.training.stages.measured_again import MEASURED_BY


def popular_ndcg(checkpoint: Checkpoint) -> float:
    """nDCG of popular items at the cut-off of a checkpoint's report, measured as the report was: for the same users.

    Raises:
        NotSealed: its dataset, with the held-out interactions, is gone.
        CheckpointError: it is a final fit whose backtest, which its report is of, is gone.
    """
    measured = measurable(checkpoint)
    manifest, k = measured.manifest, checkpoint.manifest["k"]
    dataset = PreparedDataset.open(named_in(measured.folder, manifest["dataset"]["folder"]))
    by = manifest.get(MEASURED_BY, {})  # earlier versions did not write it
    seen = SeenItems(by.get("seen", SeenItems.mask.value))
    held_out = queries_of(dataset, seen, most=by.get("max_users"))
    counts_I = interaction_counts(dataset.items, FittedSplits(manifest["fit_on"]))
    ties = TieOrder.of(len(counts_I), manifest.get("tie_seed"))
    ranking = rank_by_popularity(held_out, counts_I, EvaluateConfig().batch_size, k, ties)
    return measure(ranking, held_out, len(counts_I), [k])[f"ndcg@{k}"]
