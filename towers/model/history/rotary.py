"""Rotary embeddings: attention that depends on how far two items are apart, in positions and in time.

Shape legend: B batch, N attention heads, L history length, H dimension of a head (even), P pairs of a head's entries.
"""

import torch
from torch import Tensor

SLOWEST = 1000.0
"""Base of the frequencies: the slowest pair of entries turns by one radian in SLOWEST ** (1 - 2 / H) positions."""

SHORTEST_S, LONGEST_S = 60.0, 4 * 365 * 86_400.0
"""Bounds of the gaps of time in which a pair of entries turns by one radian: a minute, and four years, in seconds."""


def rotation(length: int, dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines, float32 [L, H] each, for `rotated`.

    A rotary position embedding turns the pairs (h, h + H / 2) of a head's entries by an angle that grows with the
    position, at H / 2 speeds (Su et al. 2021, "RoFormer").
    """
    return _turning(_position_angles(length, dim // 2))


def rotation_with_time(age_BL: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines, float32 [B, 1, L, H] each, for `rotated`: half of the pairs turn by time.

    The first pairs turn by the position, as in `rotation`, and the others by the moment of the interaction, so that a
    dot product depends on the positions between two items and on the seconds between them: "split by dimension" of
    Time-and-Order RoPE ("Rotate Both Ways", 2025, arXiv:2510.20455). The speeds are spread evenly over the logarithms
    of SHORTEST_S to LONGEST_S, for all logs alike. The time from the latest item to the question is left out, so that
    an answer does not change by waiting.

    Args:
        age_BL: int64, seconds from each item to the latest one, in the order of the positions.
        dim: H, at least 4.
    """
    num_by_time = dim // 2 // 2
    position_LP = _position_angles(age_BL.shape[1], dim // 2 - num_by_time).to(age_BL.device)
    time_BLP = (-age_BL[..., None] * _speeds_of_time(num_by_time).to(age_BL.device)).fmod(2 * torch.pi).float()
    angle_BLP = torch.cat([position_LP.expand(len(age_BL), -1, -1), time_BLP], dim=-1)
    cosine_BLH, sine_BLH = _turning(angle_BLP)
    return cosine_BLH[:, None], sine_BLH[:, None]


def _position_angles(length: int, num_pairs: int) -> Tensor:
    """float32 [L, P], in radians."""
    speed_P = SLOWEST ** (-torch.arange(num_pairs) / num_pairs)
    return torch.arange(length)[:, None] * speed_P


def _speeds_of_time(num_pairs: int) -> Tensor:
    """float64 [P], radians per second: the middles of P equal parts of the logarithms. Times need the precision."""
    part_P = (torch.arange(num_pairs, dtype=torch.float64) + 0.5) / num_pairs
    return 1 / (SHORTEST_S * (LONGEST_S / SHORTEST_S) ** part_P)


def _turning(angle_LP: Tensor) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines [..., L, H] of the angles [..., L, P] of P = H / 2 pairs."""
    angle_LH = torch.cat([angle_LP, angle_LP], dim=-1)
    sign_H = torch.ones(angle_LH.shape[-1], device=angle_LH.device)
    sign_H[: angle_LP.shape[-1]] = -1
    return angle_LH.cos(), angle_LH.sin() * sign_H


def rotated(x_BNLH: Tensor, cosine_LH: Tensor, sine_LH: Tensor) -> Tensor:
    """Turns queries or keys, so that a dot product depends on the distance of two positions, and of two moments.

    Args:
        x_BNLH: float32, queries or keys.
        cosine_LH, sine_LH: as `rotation` or `rotation_with_time` returns them.
    """
    return x_BNLH * cosine_LH + x_BNLH.roll(x_BNLH.shape[-1] // 2, dims=-1) * sine_LH
