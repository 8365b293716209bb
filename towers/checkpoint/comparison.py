"""Is one model better than another, or lucky with its users? `python -m towers.compare checkpoint=A baseline=B`.

Both are measured on the same users of the test part; each user's difference is a pair. For each metric: the mean
difference, its bootstrap interval, and the p of a sign-flip test (towers/evaluation/intervals.py). No correction is made for
looking at several metrics: decide on one beforehand.
"""

from data.dataset.prepared import PreparedDataset
from towers.checkpoint.checkpoint import Checkpoint, CheckpointError
from towers.evaluation.config import EvaluateConfig
from towers.evaluation.measure import accuracy, tower_rankings
from towers.evaluation.paired import Columns, Difference, differences
from towers.evaluation.queries import HeldOut, queries_of
from towers.evaluation.report import RERANKED, TOWERS


def compare(
    checkpoint: Checkpoint, baseline: Checkpoint, dataset: PreparedDataset, config: EvaluateConfig
) -> list[Difference]:
    """All metrics at all cut-offs, of the towers and of the towers re-ranked.

    Raises:
        CheckpointError: one of them was trained on another dataset.
    """
    for one in (checkpoint, baseline):
        _check(one, dataset)
    held_out = queries_of(dataset)
    ours, theirs = (_per_user(one, held_out, config) for one in (checkpoint, baseline))
    return [d for ranking in (TOWERS, RERANKED) for d in differences(ranking, ours[ranking], theirs[ranking], config)]


def _check(checkpoint: Checkpoint, dataset: PreparedDataset) -> None:
    of = checkpoint.manifest["dataset"]
    if of["fingerprint"] != dataset.fingerprint:
        raise CheckpointError(
            f"checkpoint {checkpoint.name} was trained on dataset {of['name']} ({of['fingerprint'][:10]}), the other on"
            f" {dataset.manifest['name']} ({dataset.fingerprint[:10]}): only checkpoints of one dataset can be compared"
        )


def _per_user(checkpoint: Checkpoint, held_out: HeldOut, config: EvaluateConfig) -> dict[str, Columns]:
    model, reranker, counts_I = checkpoint.model, checkpoint.reranker, checkpoint.counts_I
    rankings = tower_rankings(model, reranker, held_out, counts_I, config.batch_size)
    return {name: accuracy(r, held_out, len(counts_I), list(config.ks)) for name, r in rankings.items()}
