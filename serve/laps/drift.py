"""Drift between two laps: how the new positives differ from the log that the live release was trained on.

Shape legend: N rows of the new dataset (row 0 is unknown), V values of a feature.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data.dataset.catalogue import Catalogue
from data.dataset.prepared import PreparedDataset
from data.sources.schema import Feature
from serve.laps.config import CycleConfig
from towers.checkpoint.checkpoint import Checkpoint
from towers.model.build import interaction_counts
from towers.model.config import FittedSplits

BINS = 10
"""Numbers are compared by the deciles of the log from before."""

RARE = 0.01
"""Values with a smaller share in both logs are compared as one."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How the new positives differ from those before.

    Attributes:
        num_new: how many there are.
        new_users, new_items: the share of them that is of users, and with items, that had no positive before.
        popularity_shift: total variation distance of the popularity of items, beyond what chance makes.
        psi: by feature, such as "items.genres", its population stability index, beyond what chance makes.
    """

    num_new: int
    new_users: float
    new_items: float
    popularity_shift: float
    psi: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """The drift as JSON values."""
        return asdict(self)

    def beyond(self, config: CycleConfig) -> list[str]:
        """Where it is beyond the bounds, in words."""
        found = [
            (name, getattr(self, name), getattr(config, f"max_{name}"))
            for name in ("new_users", "new_items", "popularity_shift")
        ]
        found += [(f"psi of {name}", value, config.max_psi) for name, value in self.psi.items()]
        return [f"{name} {value:.3f}, at most {most:g}" for name, value, most in found if value > most]

    def __str__(self) -> str:
        return (
            f"{self.num_new:,} new positives, {self.new_users:.1%} of new users, {self.new_items:.1%} with new items;"
            f" popularity shift {self.popularity_shift:.3f}; largest psi {max(self.psi.values(), default=0.0):.3f}"
        )


def num_positives(dataset: PreparedDataset) -> int:
    """The number of positives of a dataset, in all splits."""
    return int(interaction_counts(dataset.items, FittedSplits.all).sum())


def is_counted(before: PreparedDataset | Checkpoint) -> bool:
    """Whether the positives of a log are counted in all splits; dataset version 2 lacks those of the test part."""
    names = {f"{split}_count" for split in FittedSplits.all.splits}
    return all(names <= set(catalogue.column_names) for catalogue in (before.users, before.items))


def measure_drift(before: PreparedDataset | Checkpoint, after: PreparedDataset) -> Drift:
    """Compares two logs, of which the second has the first and more.

    Both are compared by the numbers of positives of their users and items: no interaction is read. A release has these
    too, of the dataset that it was trained on. The first one must be `is_counted`.
    """
    items_before, items_new = _counts(before.items, after.items)
    users_before, users_new = _counts(before.users, after.users)
    num_new = int(items_new.sum())
    return Drift(
        num_new,
        _share(users_new, users_before == 0),
        _share(items_new, items_before == 0),
        _popularity_shift(items_before, items_new),
        _psi_of(after.items, "items", items_before, items_new) | _psi_of(after.users, "users", users_before, users_new),
    )


def _counts(before: Catalogue, after: Catalogue) -> tuple[np.ndarray, np.ndarray]:
    """int64 [N], twice: the positives of each row of `after` in the dataset before, and since."""
    before_N, after_N = (interaction_counts(catalogue, FittedSplits.all) for catalogue in (before, after))
    was_N = before_N[before.ids.rows_of(after.ids)]
    return was_N, np.maximum(after_N - was_N, 0)  # a user who was forgotten has less than before


def _share(counts_N: np.ndarray, chosen_N: np.ndarray) -> float:
    return float(counts_N[chosen_N].sum() / max(counts_N.sum(), 1))


def _popularity_shift(before_N: np.ndarray, new_N: np.ndarray) -> float:
    """Total variation distance, minus that of a sample of the same size from the distribution before."""
    if not before_N.sum() or not new_N.sum():
        return 0.0
    share_N = before_N / before_N.sum()
    by_chance_N = np.random.default_rng(0).multinomial(int(new_N.sum()), share_N) / new_N.sum()
    found, expected = (np.abs(each_N - share_N).sum() / 2 for each_N in (new_N / new_N.sum(), by_chance_N))
    return float(max(found - expected, 0.0))


def _psi_of(catalogue: Catalogue, side: str, before_N: np.ndarray, new_N: np.ndarray) -> dict[str, float]:
    """The PSI of each feature of a side, but vectors."""
    found = {}
    for feature in catalogue.features:
        if not feature.kind.is_vector:
            values = _binned(catalogue.held[feature.name].combine_chunks(), feature, before_N[1:])
            found[f"{side}.{feature.name}"] = psi(*(_by_value(*values, counts_N[1:]) for counts_N in (before_N, new_N)))
    return found


def _binned(column: pa.Array, feature: Feature, weight_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64, twice: entries of the catalogue, and the number of a value that each has."""
    if feature.kind.is_number:
        numbers = pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(zero_copy_only=False)
        known = np.isfinite(numbers)
        order = np.argsort(numbers[known], kind="stable")
        reached = np.cumsum(weight_N[known][order])
        if not len(order) or not reached[-1]:
            return np.arange(len(numbers)), known.astype(np.int64)
        at = np.searchsorted(reached, reached[-1] * np.arange(1, BINS) / BINS)
        edges = np.unique(numbers[known][order][at])
        return np.arange(len(numbers)), np.where(known, 1 + np.searchsorted(edges, numbers, side="right"), 0)
    lists = feature.kind.value_lists(column)
    filled = pc.if_else(
        pc.fill_null(pc.greater(pc.list_value_length(lists), 0), False), lists, pa.scalar([""], lists.type)
    )
    codes = filled.flatten().dictionary_encode().indices.to_numpy()
    return pc.list_parent_indices(filled).to_numpy(), codes.astype(np.int64)


def _by_value(entries: np.ndarray, values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """int64 [V]: how often each value occurs, counted by the interactions of the entries that have it."""
    return np.bincount(values, weights=counts[entries], minlength=int(values.max(initial=0)) + 1).astype(np.int64)


def psi(before_V: np.ndarray, new_V: np.ndarray) -> float:
    """The population stability index: sum over values of (p - q) ln(p / q), for shares p before and q now.

    Values that are rare in both are taken together, half an observation is added to each, and what chance makes with
    so many observations, (V - 1)(1/n + 1/m), is taken off (Yurdakul 2018).
    """
    n, m = int(before_V.sum()), int(new_V.sum())
    if not n or not m:
        return 0.0
    is_rare_V = (before_V < RARE * n) & (new_V < RARE * m)
    rare = [is_rare_V] if is_rare_V.any() else []
    counts = [np.append(each_V[~is_rare_V], [each_V[at].sum() for at in rare]) + 0.5 for each_V in (before_V, new_V)]
    p_V, q_V = (each_V / each_V.sum() for each_V in counts)
    by_chance = (len(p_V) - 1) * (1 / n + 1 / m)
    return float(max(((p_V - q_V) * np.log(p_V / q_V)).sum() - by_chance, 0.0))
