"""Rotary position embeddings: attention that depends on how far two positions are apart.

Shape legend: B batch, N attention heads, L history length, H dimension of a head (even).
"""

import torch
from torch import Tensor

SLOWEST = 1000.0
"""Base of the frequencies: the slowest pair of entries turns by one radian in SLOWEST ** (1 - 2 / H) positions."""


def rotation(length: int, dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines, float32 [L, H] each, for `rotated`.

    A rotary position embedding turns the pairs (h, h + H / 2) of a head's entries by an angle that grows with the
    position, at H / 2 speeds (Su et al. 2021, "RoFormer").
    """
    speed = SLOWEST ** (-torch.arange(dim // 2) / (dim // 2))
    angle_LH = (torch.arange(length)[:, None] * speed).repeat(1, 2)
    sign_H = torch.ones(dim)
    sign_H[: dim // 2] = -1
    return angle_LH.cos(), angle_LH.sin() * sign_H


def rotated(x_BNLH: Tensor, cosine_LH: Tensor, sine_LH: Tensor) -> Tensor:
    """Turns queries or keys by their positions, so that a dot product depends on the distance of two positions.

    Args:
        x_BNLH: float32, queries or keys.
        cosine_LH, sine_LH: as `rotation` returns them.
    """
    return x_BNLH * cosine_LH + x_BNLH.roll(x_BNLH.shape[-1] // 2, dims=-1) * sine_LH
