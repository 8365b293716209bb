"""How often each item was taken lately: in the latest share of the interactions that are fitted on.

The interactions are read part by part, a few times, so that no process holds those of a whole log.

Shape legend: I items (row 0 = unknown).
"""

from collections.abc import Iterator, Sequence

import numpy as np

from data.dataset.prepared import PreparedDataset

BINS = 4096
"""Number of equal spans of time that are counted at a time, to find where the latest share begins."""


def recent_counts(dataset: PreparedDataset, splits: Sequence[str], share: float, num_items: int) -> np.ndarray | None:
    """int64 [I]: interactions of each item in the latest `share` of those of some splits; None if the log has no times.

    Interactions of the same moment belong to the share all or not at all: it is at least as large as asked for.
    """
    total = sum(dataset.manifest["counts"][split] for split in splits)
    if not total or not dataset.has_clock:
        return None
    first = _moment(dataset, splits, max(round(share * total), 1))
    counts_I = np.zeros(num_items, dtype=np.int64)
    for part in dataset.parts(*splits, columns=["item_row", "time"]):
        is_late_N = part["time"].to_numpy() >= first
        counts_I += np.bincount(part["item_row"].to_numpy()[is_late_N], minlength=num_items)
    return counts_I


def _moment(dataset: PreparedDataset, splits: Sequence[str], num: int) -> int:
    """The time of the interaction after which, itself included, come `num`; they are counted by ever shorter spans."""
    spans = [(times.min(), times.max()) for times in _times(dataset, splits)]
    low, high = int(min(first for first, _ in spans)), int(max(last for _, last in spans))
    while high > low:
        width = -(-(high - low + 1) // BINS)
        counts_S = np.zeros(BINS, dtype=np.int64)
        for times in _times(dataset, splits):
            within = times[(times >= low) & (times <= high)]
            counts_S += np.bincount((within - low) // width, minlength=BINS)
        from_end_S = np.cumsum(counts_S[::-1])[::-1]
        span = int(np.flatnonzero(from_end_S >= num)[-1])
        num -= int(from_end_S[span] - counts_S[span])
        low, high = low + span * width, min(low + (span + 1) * width - 1, high)
    return low


def _times(dataset: PreparedDataset, splits: Sequence[str]) -> Iterator[np.ndarray]:
    return (part["time"].to_numpy() for part in dataset.parts(*splits, columns=["time"]) if len(part))
