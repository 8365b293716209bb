"""What the workers of a training stream, where the log does not fit into their memory."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.dataset.prepared import PreparedDataset
from data.sequences.feedback import ExplicitNegatives, not_taken_back
from data.sequences.streaming import StreamedParts
from data.sources.event_types import is_negative_of_towers
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits, ModelConfig
from towers.model.context import Context
from towers.training.config import TrainConfig


def is_streamed(dataset: PreparedDataset, settings: TrainConfig, fit_on: FittedSplits) -> bool:
    """Whether the workers stream the interactions, because a worker's share has more than `train.in_memory_rows`.

    Positives count, and the explicit negatives that the towers learn from, which may be many more.
    """
    counts, most = dataset.manifest["counts"], settings.in_memory_rows * settings.num_workers
    num_rows = sum(counts[split] for split in fit_on.splits)
    if num_rows <= most < num_rows + counts.get("others", 0):
        num_rows += num_negatives(dataset, fit_on)
    return num_rows > most


def streamed_parts(
    dataset: PreparedDataset, model: ModelConfig, fit_on: FittedSplits, context: Context
) -> StreamedParts:
    """The parts of the splits to fit on. The driver counts and looks at columns; it keeps no row."""
    splits = fit_on.splits
    return StreamedParts(
        dataset=dataset,
        sizes={name: dataset.part_rows(name, *splits) for name in dataset.part_names(*splits)},
        splits=splits,
        beside=tuple(model.history_columns),
        num_items=dataset.items.num_rows,
        is_weighted=is_weighted(dataset, splits),
        encode=context.encode if model.context and len(context) else None,
        negatives=ExplicitNegativesOfTowers.of(dataset, fit_on) if has_negatives(dataset) else None,
        num_negatives=num_negatives(dataset, fit_on),
    )


def is_weighted(dataset: PreparedDataset, splits: tuple[str, ...]) -> bool:
    """Whether the positives of these splits count differently."""
    least, most = np.inf, -np.inf
    for part in dataset.parts(*splits, columns=["weight"]):
        found = pc.min_max(part["weight"])
        if found["min"].is_valid:
            least, most = min(least, found["min"].as_py()), max(most, found["max"].as_py())
    return bool(least < most)


def num_examples(dataset: PreparedDataset, model: ModelConfig, fit_on: FittedSplits) -> int:
    """Number of training examples: positives, or windows for encoders that are trained on all positions."""
    counts_U = interaction_counts(dataset.users, fit_on)
    if not model.history_encoder.trains_on_all_positions:
        return int(counts_U.sum())
    return int(np.ceil(np.maximum(counts_U - 1, 0) / model.history_length).sum())


def has_negatives(dataset: PreparedDataset) -> bool:
    """Whether events of a log may be explicit negatives that the towers learn from; otherwise nobody need look."""
    return bool(dataset.event_types.having(is_negative_of_towers).any())


def num_negatives(dataset: PreparedDataset, fit_on: FittedSplits) -> int:
    """Number of explicit negatives that the towers learn from; one part is read at a time."""
    if not has_negatives(dataset):
        return 0
    among, columns = ExplicitNegativesOfTowers.of(dataset, fit_on), ["item_row", "type"]
    return sum(len(among(part)) for part in dataset.parts(*fit_on.splits, columns=columns, kinds=("others",)))


def explicit_negatives(dataset: PreparedDataset, fit_on: FittedSplits) -> ExplicitNegatives | None:
    """The explicit negatives that the towers learn from, of a log in memory; None where there are none.

    One part is read at a time, of which the negatives alone are held: other events may be many more.
    """
    if not has_negatives(dataset):
        return None
    among, splits, num_items = ExplicitNegativesOfTowers.of(dataset, fit_on), fit_on.splits, dataset.items.num_rows
    columns, kept = ["user_row", "item_row", "time", "weight"], []
    for name in dataset.part_names(*splits, kinds=("others",)):
        negatives = among(dataset.part(name, *splits, columns=[*columns, "type"], kinds=("others",)))
        if len(negatives):
            positives = dataset.part(name, *splits, columns=columns[:3])
            kept.append(not_taken_back(negatives, positives, num_items))
    return ExplicitNegatives.of_parts(kept, dataset.users.num_rows) if kept else None


@dataclass(frozen=True)
class ExplicitNegativesOfTowers:
    """Selects the explicit negatives that the towers learn from, of interactions that are no positives.

    Items without positives to fit on are none of them. The towers know all of these by the same vector of unknown ids,
    and by features that other items have too: to push one of them away would push every new item away.

    Attributes:
        is_fitted_I: bool, the items that have positives to fit on, by row.
    """

    dataset: PreparedDataset
    is_fitted_I: np.ndarray

    @classmethod
    def of(cls, dataset: PreparedDataset, fit_on: FittedSplits) -> "ExplicitNegativesOfTowers":
        """Those of a dataset whose splits are fitted on."""
        return cls(dataset, interaction_counts(dataset.items, fit_on) > 0)

    def __call__(self, others: pa.Table) -> pa.Table:
        """The negatives among these interactions, which have the columns `item_row` and `type`."""
        negatives = self.dataset.of_types(others, is_negative_of_towers)
        return negatives.filter(pa.array(self.is_fitted_I[negatives["item_row"].to_numpy()]))
