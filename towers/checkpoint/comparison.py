"""Comparison of two checkpoints on the same users of the test part, tested in pairs (towers/evaluation/paired.py)."""

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.dataset.prepared import PreparedDataset
from towers.checkpoint.backtest import measurable
from towers.checkpoint.checkpoint import Checkpoint, open_checkpoint
from towers.checkpoint.opening.named import checkpoint_at
from towers.checkpoint.tensor_files import CheckpointError
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.measure import Columns, accuracy, tower_rankings
from towers.evaluation.paired import Difference, differences
from towers.evaluation.queries import HeldOut, queries_of
from towers.evaluation.report import RERANKED, TOWERS


def open_baseline(place: str | None, storage: Folder) -> Checkpoint:
    """Opens the checkpoint to compare with, which `baseline` names (`checkpoint_at`).

    Args:
        storage: the storage root, whose endpoint and credentials are taken where the checkpoint lies in it.

    Raises:
        ConfigError: no folder is named.
        NotSealed: there is no checkpoint in it.
        CheckpointError: the checkpoint is damaged.
    """
    if not place:
        raise ConfigError(
            "baseline: null is no checkpoint folder; name the one to compare with, baseline=var/checkpoints/..."
        )
    return open_checkpoint(checkpoint_at(place, storage))


def compare(
    checkpoint: Checkpoint, baseline: Checkpoint, dataset: PreparedDataset, config: EvaluateConfig
) -> list[Difference]:
    """Differences of all metrics at all cut-offs, for the towers and for the towers with re-ranker.

    A checkpoint whose towers have seen the test part is measured by its backtest.

    Args:
        config: what becomes of seen items, how many users are asked, and the cut-offs.

    Raises:
        CheckpointError: one of the checkpoints was trained on another dataset.
        ConfigError: no user has a test interaction with an item that is new to them.
    """
    for one in (checkpoint, baseline):
        _check_dataset(one, dataset)
    checkpoint, baseline = measurable(checkpoint), measurable(baseline)
    needed = {name for one in (checkpoint, baseline) for name in one.model.config.history_columns}
    held_out = queries_of(dataset, config.seen, needed, config.max_users)
    ours, theirs = (_accuracy_by_user(one, held_out, config) for one in (checkpoint, baseline))
    return [d for ranking in (TOWERS, RERANKED) for d in differences(ranking, ours[ranking], theirs[ranking], config)]


def _check_dataset(checkpoint: Checkpoint, dataset: PreparedDataset) -> None:
    of = checkpoint.manifest["dataset"]
    if of["fingerprint"] != dataset.fingerprint:
        raise CheckpointError(
            f"checkpoint {checkpoint.name} was trained on dataset {of['name']} ({of['fingerprint'][:10]}), the other on"
            f" {dataset.manifest['name']} ({dataset.fingerprint[:10]}): only checkpoints of one dataset can be compared"
        )


def _accuracy_by_user(checkpoint: Checkpoint, held_out: HeldOut, config: EvaluateConfig) -> dict[str, Columns]:
    """Metrics of each query by ranking."""
    model, reranker, popularity_I = checkpoint.model, checkpoint.reranker, checkpoint.popularity_I
    item_ID, ties = checkpoint.item_vectors_ID, checkpoint.ties
    rankings = tower_rankings(model, reranker, held_out, popularity_I, config.batch_size, item_ID, ties)
    return {name: accuracy(r, held_out, len(popularity_I), list(config.ks)) for name, r in rankings.items()}
