"""Comparison of two checkpoints on the same users of the test part, tested in pairs (towers/evaluation/paired.py)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.seals import named_in
from data.cluster.typed_commands import override
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
from towers.model.config import FittedSplits


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


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two checkpoints that were measured on the same users.

    Attributes:
        checkpoint, baseline: what was measured: the checkpoints, or their backtests.
        differences: of all metrics at all cut-offs, for the towers and for the towers with re-ranker.
        num_users: the users who were asked.
        sampled_from: the number that they were drawn from; None where they are all.
        notes: what a reader should know, a sentence each.
    """

    checkpoint: Checkpoint
    baseline: Checkpoint
    differences: list[Difference]
    num_users: int
    sampled_from: int | None
    notes: list[str]

    def as_json(self) -> dict[str, Any]:
        """The comparison without the differences, as JSON values."""
        measured = {"checkpoint": self.checkpoint, "baseline": self.baseline}
        return {
            "measured": {
                name: {"folder": str(one.folder), "fit_on": one.manifest["fit_on"]} for name, one in measured.items()
            },
            "num_users": self.num_users,
            "sampled_from": self.sampled_from,
            "notes": self.notes,
        }


def compare(
    checkpoint: Checkpoint, baseline: Checkpoint, dataset: PreparedDataset, config: EvaluateConfig
) -> Comparison:
    """Measures both on the same users of the test part.

    A checkpoint whose towers have seen the test part is measured by its backtest.

    Args:
        config: what becomes of seen items, how many users are asked, and the cut-offs.

    Raises:
        CheckpointError: one of the checkpoints was trained on another dataset.
        ConfigError: no user has a test interaction with an item that is new to them.
    """
    for one in (checkpoint, baseline):
        _check_dataset(one, dataset)
    new, old = measurable(checkpoint), measurable(baseline)
    needed = {name for one in (new, old) for name in one.model.config.history_columns}
    held_out = queries_of(dataset, config.seen, needed, config.max_users)
    ours, theirs = (_accuracy_by_user(one, held_out, config) for one in (new, old))
    num, sampled_from = len(held_out.user_rows_Q), held_out.sampled_from
    sampled = f" of {sampled_from:,} users, drawn at random (evaluate.max_users)" if sampled_from else " users"
    return Comparison(
        checkpoint=new,
        baseline=old,
        differences=[
            d for ranking in (TOWERS, RERANKED) for d in differences(ranking, ours[ranking], theirs[ranking], config)
        ],
        num_users=num,
        sampled_from=sampled_from,
        notes=[
            f"measured on {num:,}{sampled}",
            *_fit_notes({"checkpoint": (checkpoint, new), "baseline": (baseline, old)}),
        ],
    )


def _fit_notes(pairs: Mapping[str, tuple[Checkpoint, Checkpoint]]) -> list[str]:
    """Which backtests were measured, and that the two have learned from different parts, where it is so.

    Args:
        pairs: by the value that names it, a checkpoint and what was measured of it.
    """
    notes = dict.fromkeys(
        f"{given.name} has learned from the test part, and was measured by its backtest {measured.name}"
        for given, measured in pairs.values()
        if given is not measured
    )
    fits = {name: FittedSplits(measured.manifest["fit_on"]) for name, (_, measured) in pairs.items()}
    if len(set(fits.values())) == 1:
        return list(notes)
    learned = ", ".join(f"the {name} from {' and '.join(fit.splits)}" for name, fit in fits.items())
    settled = [
        override(name, str(named_in(given.folder, given.manifest["settled"])))
        for name, (given, _) in pairs.items()
        if given.manifest.get("settled")
    ]
    cure = f"{' '.join(settled)} is its fit on the train part" if settled else "train both with the same train.fit_on"
    return [*notes, f"they have learned from different parts ({learned}), which is part of the difference; {cure}"]


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
