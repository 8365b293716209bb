"""A map of the embedding space: vectors in a plane, by the two directions in which they differ most (PCA).

Shape legend: N vectors, D dimension.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Projection:
    """A projection onto a plane.

    Attributes:
        mean_D: float32; the middle of the vectors that it was made of.
        axes_2D: float32 [2, D]; the directions, of length 1.
        explained: The share of the vectors' variance that each direction has.
    """

    mean_D: np.ndarray
    axes_2D: np.ndarray
    explained: tuple[float, float]

    @classmethod
    def of(cls, vectors_ND: np.ndarray) -> "Projection":
        """Fits the plane to some vectors; the sign of each direction is such that its largest entry is positive."""
        mean_D = vectors_ND.mean(0)
        _, sizes, axes = np.linalg.svd(vectors_ND - mean_D, full_matrices=False)
        axes_2D = np.zeros((2, vectors_ND.shape[1]), dtype=np.float32)
        found = axes[:2]
        signs = np.sign(found[np.arange(len(found)), np.abs(found).argmax(1)])
        axes_2D[: len(found)] = found * np.where(signs == 0, 1, signs)[:, None]
        variances = np.zeros(2)
        variances[: len(found)] = sizes[:2] ** 2
        total = float((sizes**2).sum()) or 1.0
        return cls(mean_D.astype(np.float32), axes_2D, (float(variances[0] / total), float(variances[1] / total)))

    def __call__(self, vectors_ND: np.ndarray) -> np.ndarray:
        """Returns the places of vectors on the plane, float32 [N, 2]."""
        placed: np.ndarray = (vectors_ND - self.mean_D) @ self.axes_2D.T
        return placed
