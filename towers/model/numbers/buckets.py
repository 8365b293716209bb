"""The buckets of a numeric feature that the towers take by quantiles: each has an embedding of its own.

Shape legend: N values.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_BUCKETS = 32
"""Number of buckets of a numeric feature that is taken by quantiles."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The buckets of a numeric feature, which hold about equally many of the values that it was fitted to.

    A value that occurs more often has a bucket of its own: if nearly all are 0, the others are not among them.

    Attributes:
        edges: ascending; bucket number n holds the values from edge n - 1 (included) to edge n.
    """

    edges: tuple[float, ...]

    @classmethod
    def of(cls, values_N: np.ndarray, most: int = MOST_BUCKETS) -> "Buckets":
        """The buckets of a column: fewer than `most` where values repeat.

        Args:
            values_N: float64; NaN and infinite values are missing.
        """
        finite = np.sort(values_N[np.isfinite(values_N)])
        if not len(finite):
            return cls(())
        firsts, num_buckets = np.unique(
            np.quantile(finite, np.arange(most) / most, method="higher"), return_counts=True
        )
        behind = np.searchsorted(finite, firsts[num_buckets > 1], side="right")
        edges = np.union1d(firsts, finite[behind[behind < len(finite)]])
        return cls(tuple(edges[edges > finite[0]].tolist()))

    @property
    def num_rows(self) -> int:
        """Number of rows of a table of the buckets: row 0 stands for a missing value."""
        return len(self.edges) + 2

    def rows(self, values_N: np.ndarray) -> np.ndarray:
        """int32 [N]: the row of each value's bucket, from 1; 0 where it is missing."""
        row_N = 1 + np.searchsorted(np.array(self.edges), values_N, side="right")
        return np.where(np.isfinite(values_N), row_N, 0).astype(np.int32)

    def rows_of(self, other: "Buckets") -> np.ndarray:
        """int64 [other.num_rows]: for each row of other buckets, the row here of its bucket's lower edge; 0 for row 0.

        Of the lowest bucket, which has none, the numbers just below its upper edge count.
        """
        edges = np.array(other.edges)
        lower = np.concatenate([[np.nan, np.nextafter(edges[0], -np.inf) if len(edges) else 0.0], edges])
        return self.rows(lower).astype(np.int64)

    def as_json(self) -> dict[str, list[float]]:
        """The edges, as a manifest holds them."""
        return {"edges": list(self.edges)}

    @classmethod
    def of_json(cls, values: dict[str, Any]) -> "Buckets":
        """The inverse of `as_json`."""
        return cls(tuple(values["edges"]))
