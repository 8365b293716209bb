"""Encoders of a user's history: items, oldest first, to one vector.

Shape legend: B batch, L length, R distinct items of the batch (row 0 = padding), D dimension, N heads, H dimension of a
head.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

SLOWEST = 1000.0
"""Steps for the slowest of the rotary embedding's frequencies to turn by one radian."""


class PooledHistory(nn.Module):
    """Linear map of the mean item embedding over the history, as in SimpleX (Mao et al. 2021, eq. 4, mean pooling)."""

    def __init__(self, embedding_dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embedding_dim, embedding_dim, bias=False)
        nn.init.eye_(self.linear.weight)

    def forward(self, history_BL: Tensor, items_RD: Tensor) -> Tensor:
        """int [B, L] (0 = padding), their embeddings [R, D] -> float32 [B, D]; zeros for an empty history."""
        return self.linear(functional.embedding_bag(history_BL, items_RD, mode="mean", padding_idx=0))


class CausalTransformer(nn.Module):
    """Self-attention over the history, each position seeing itself and what came before, as in SASRec (Kang & McAuley
    2018), with normalisation before each sub-layer. Positions count from the latest item; how far two items are apart
    enters their attention by rotation.
    """

    cosine_LH: Tensor
    sine_LH: Tensor

    def __init__(self, embedding_dim: int, length: int, num_blocks: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(length, embedding_dim))
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(embedding_dim, num_heads, dropout) for _ in range(num_blocks))
        self.norm = nn.LayerNorm(embedding_dim)
        cosine_LH, sine_LH = rotation(length, embedding_dim // num_heads)
        self.register_buffer("cosine_LH", cosine_LH, persistent=False)
        self.register_buffer("sine_LH", sine_LH, persistent=False)

    def forward(self, history_BL: Tensor, items_RD: Tensor) -> Tensor:
        """int [B, L] (0 = padding), their embeddings [R, D] -> float32 [B, D]: what the whole history says."""
        return self.all_positions(history_BL, items_RD)[:, -1]

    def all_positions(self, history_BL: Tensor, items_RD: Tensor) -> Tensor:
        """float32 [B, L, D]: what the history up to and with each position says; zero at padding.

        Inside, the padding stands on the right, where a causal mask alone hides it from every item.
        """
        length, there_BL = history_BL.shape[1], history_BL > 0
        num_padding_B1 = length - there_BL.sum(1, keepdim=True)
        place_BL = torch.arange(length, device=history_BL.device) + num_padding_B1
        inside_BL = place_BL.clamp(max=length - 1)
        scale = items_RD.shape[1] ** 0.5
        embedded_BLD = functional.embedding(history_BL.gather(1, inside_BL), items_RD) * scale
        x_BLD = self.dropout(embedded_BLD + functional.embedding(inside_BL, self.positions[-length:]))
        for block in self.blocks:
            x_BLD = block(x_BLD, self.cosine_LH[:length], self.sine_LH[:length])
        back_BL = (place_BL - 2 * num_padding_B1).clamp(min=0)
        return _take(self.norm(x_BLD), back_BL) * there_BL[..., None]


class Block(nn.Module):
    """Causal attention, then a two-layer perceptron of the same width; both residual, and what they add is gated by
    their normalised input, much as in LiGR (Borisyuk et al. 2025, "From Features to Transformers").

    Dropout falls on what each adds, not on attention weights: those number L per position, and dropping them forbids
    fused attention (on CPUs it was half of a step's time).
    """

    def __init__(self, embedding_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(embedding_dim)
        self.query_key_value_gate = nn.Linear(embedding_dim, 4 * embedding_dim)
        self.out = nn.Linear(embedding_dim, embedding_dim)
        self.perceptron_norm = nn.LayerNorm(embedding_dim)
        self.hidden_gate = nn.Linear(embedding_dim, 2 * embedding_dim)
        self.last = nn.Linear(embedding_dim, embedding_dim)
        self.dropout = Dropout(dropout)

    def forward(self, x_BLD: Tensor, cosine_LH: Tensor, sine_LH: Tensor) -> Tensor:
        x_BLD = x_BLD + self._attended(self.attention_norm(x_BLD), cosine_LH, sine_LH)
        return x_BLD + self._transformed(self.perceptron_norm(x_BLD))

    def _attended(self, x_BLD: Tensor, cosine_LH: Tensor, sine_LH: Tensor) -> Tensor:
        dim = x_BLD.shape[-1]
        heads, gate_BLD = self.query_key_value_gate(x_BLD).split([3 * dim, dim], dim=-1)
        query_BNLH, key_BNLH, value_BNLH = heads.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        found_BNLH = functional.scaled_dot_product_attention(
            rotated(query_BNLH, cosine_LH, sine_LH), rotated(key_BNLH, cosine_LH, sine_LH), value_BNLH, is_causal=True
        )
        return self.dropout(self.out(found_BNLH.transpose(1, 2).flatten(-2))) * gate_BLD.sigmoid()

    def _transformed(self, x_BLD: Tensor) -> Tensor:
        hidden_BLD, gate_BLD = self.hidden_gate(x_BLD).chunk(2, dim=-1)
        return self.dropout(self.last(self.dropout(functional.gelu(hidden_BLD)))) * gate_BLD.sigmoid()


def rotation(length: int, dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [L, H] by which a rotary position embedding turns the pairs (h, h + H / 2) of a head's entries:
    by an angle that grows with the position, at H / 2 speeds (Su et al. 2021, "RoFormer").
    """
    speed = SLOWEST ** (-torch.arange(dim // 2) / (dim // 2))
    angle_LH = (torch.arange(length)[:, None] * speed).repeat(1, 2)
    sign_H = torch.ones(dim)
    sign_H[: dim // 2] = -1
    return angle_LH.cos(), angle_LH.sin() * sign_H


def rotated(x_BNLH: Tensor, cosine_LH: Tensor, sine_LH: Tensor) -> Tensor:
    """Queries or keys, turned by their positions: their dot products then depend on how far they are apart."""
    return x_BNLH * cosine_LH + x_BNLH.roll(x_BNLH.shape[-1] // 2, dims=-1) * sine_LH


class Dropout(nn.Module):
    """Dropout by random bytes, so that its share comes in 256ths: on a CPU a quarter of the time of torch's own, which
    draws from a Bernoulli for each entry.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: Tensor) -> Tensor:
        dropped = round(256 * self.share)
        if not (self.training and dropped):
            return x
        if x.is_cuda:
            return functional.dropout(x, self.share)
        words = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), None)
        bytes_like_x = words.view(torch.uint8)[: x.numel()].view(x.shape)
        return x * (bytes_like_x >= dropped).to(x.dtype).mul_(256 / (256 - dropped))


def _take(x_BLD: Tensor, index_BL: Tensor) -> Tensor:
    """x[b, index[b, l]]: float32 [B, L, D]."""
    return x_BLD.gather(1, index_BL[..., None].expand(-1, -1, x_BLD.shape[2]))


def pad(histories: list[list[int]], length: int) -> Tensor:
    """Lists of item rows, oldest first, to int32 [B, length], padded with 0 on the left."""
    kept = [history[max(len(history) - length, 0) :] for history in histories]
    return torch.tensor([[0] * (length - len(h)) + h for h in kept], dtype=torch.int32).reshape(len(kept), length)
