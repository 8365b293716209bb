"""Encoders of a user's history: items, oldest first, to one vector.

Shape legend: B batch, L length, R distinct items of the batch (row 0 = padding), D dimension.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


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
    2018), with normalisation before each sub-layer. Positions count from the latest item.
    """

    def __init__(self, embedding_dim: int, length: int, num_blocks: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(length, embedding_dim))
        self.dropout = Dropout(dropout)
        self.blocks = nn.ModuleList(Block(embedding_dim, num_heads, dropout) for _ in range(num_blocks))
        self.norm = nn.LayerNorm(embedding_dim)

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
            x_BLD = block(x_BLD)
        back_BL = (place_BL - 2 * num_padding_B1).clamp(min=0)
        return _take(self.norm(x_BLD), back_BL) * there_BL[..., None]


class Block(nn.Module):
    """Causal attention, then a two-layer perceptron of the same width; both residual.

    Dropout falls on what each adds, not on attention weights: those number L per position, and dropping them forbids
    fused attention (on CPUs it was half of a step's time).
    """

    def __init__(self, embedding_dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(embedding_dim)
        self.query_key_value = nn.Linear(embedding_dim, 3 * embedding_dim)
        self.out = nn.Linear(embedding_dim, embedding_dim)
        self.perceptron_norm = nn.LayerNorm(embedding_dim)
        self.perceptron = nn.Sequential(
            nn.Linear(embedding_dim, embedding_dim),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(embedding_dim, embedding_dim),
        )
        self.dropout = Dropout(dropout)

    def forward(self, x_BLD: Tensor) -> Tensor:
        x_BLD = x_BLD + self.dropout(self._attend(self.attention_norm(x_BLD)))
        return x_BLD + self.dropout(self.perceptron(self.perceptron_norm(x_BLD)))

    def _attend(self, x_BLD: Tensor) -> Tensor:
        heads = self.query_key_value(x_BLD).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind()
        found = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out(found.transpose(1, 2).flatten(-2))


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
