"""What the workers of a training stream, where the log does not fit into their memory."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.dataset.prepared import PreparedDataset
from data.sequences.streaming import StreamedParts
from data.sources.event_types import is_negative_of_towers
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits, ModelConfig
from towers.model.context import Context
from towers.training.config import TrainConfig


def is_streamed(dataset: PreparedDataset, settings: TrainConfig, fit_on: FittedSplits) -> bool:
    """Whether the workers stream the interactions, because a worker's share has more than `train.in_memory_rows`."""
    num_rows = sum(dataset.manifest["counts"][split] for split in fit_on.splits)
    return num_rows > settings.in_memory_rows * settings.num_workers


def streamed_parts(
    dataset: PreparedDataset, model: ModelConfig, fit_on: FittedSplits, context: Context
) -> StreamedParts:
    """The parts of the splits to fit on. The driver counts and looks at columns; it keeps no row."""
    splits, has_negatives = fit_on.splits, bool(dataset.event_types)
    return StreamedParts(
        dataset=dataset,
        sizes={name: dataset.part_rows(name, *splits) for name in dataset.part_names(*splits)},
        splits=splits,
        beside=tuple(model.history_columns),
        num_items=len(dataset.items.ids),
        is_weighted=is_weighted(dataset, splits),
        encode=context.encode if model.context and len(context) else None,
        negatives=ExplicitNegativesOfTowers.of(dataset, fit_on) if has_negatives else None,
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
