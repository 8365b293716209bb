"""A causal transformer over the history.

Shape legend: B batch, L history length, R distinct items of a batch's histories (row 0 = padding), D dimension, H
dimension of an attention head.
"""

from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from data.artifacts.errors import ConfigError
from towers.model.history import HISTORY_ENCODERS
from towers.model.history.attention_block import AttentionBlock
from towers.model.history.dropout import Dropout
from towers.model.history.encoder import HistoryEncoder, HistorySettings
from towers.model.history.moments import ages
from towers.model.history.rotary import rotation, rotation_with_time
from towers.model.history.time_bias import gap_buckets
from towers.model.history.time_modes import HistoryTime


@HISTORY_ENCODERS.register("transformer")
class CausalTransformer(HistoryEncoder):
    """Self-attention over the history in which each position sees itself and the items before it.

    It follows SASRec (Kang & McAuley 2018), with layer normalisation before each sub-layer, and with learned positions
    that count from the latest item. Two departures: rotary embeddings bring the distance between two items into their
    attention, and what each sub-layer adds is gated (towers/model/history/attention_block.py). With
    `model.history_time=rotary`, these bring the time between two items too; with `bias`, a learned bias does.
    """

    trains_on_all_positions: ClassVar[bool] = True
    time_modes: ClassVar[tuple[HistoryTime, ...]] = (HistoryTime.rotary, HistoryTime.bias)
    cosine_LH: Tensor
    sine_LH: Tensor

    def __init__(self, config: HistorySettings) -> None:
        super().__init__(config)
        dim, length = config.embedding_dim, config.history_length
        self.positions = nn.Parameter(torch.zeros(length, dim))
        self.dropout = Dropout(config.dropout)
        self.has_time_bias = config.history_time is HistoryTime.bias
        self.blocks = nn.ModuleList(
            AttentionBlock(dim, config.num_heads, config.dropout, self.has_time_bias) for _ in range(config.num_blocks)
        )
        self.norm = nn.LayerNorm(dim)
        self.head_dim = dim // config.num_heads
        cosine_LH, sine_LH = rotation(length, self.head_dim)
        self.register_buffer("cosine_LH", cosine_LH, persistent=False)
        self.register_buffer("sine_LH", sine_LH, persistent=False)

    @classmethod
    def check(cls, config: HistorySettings) -> None:
        """Refuses heads of an odd dimension, whose entries rotary embeddings cannot turn in pairs."""
        if config.embedding_dim // config.num_heads % 2:
            raise ConfigError(
                f"model.embedding_dim: {config.embedding_dim} over num_heads ({config.num_heads}) must be an even"
                " number"
            )
        if config.history_time is HistoryTime.rotary and config.embedding_dim // config.num_heads < 4:
            raise ConfigError(
                f"model.history_time: rotary turns half of each head by time, and heads of {config.embedding_dim} over"
                f" num_heads ({config.num_heads}) have too few entries; set fewer model.num_heads"
            )

    def forward(self, history_BL: Tensor, items_RD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """int [B, L], float32 [R, D], int64 [B, L] -> float32 [B, D]: the encoding at the latest item."""
        return self.all_positions(history_BL, items_RD, times_BL)[:, -1]

    def all_positions(self, history_BL: Tensor, items_RD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """int [B, L], float32 [R, D], int64 [B, L] -> float32 [B, L, D]; zero at padding.

        Histories are padded on the left. Here the padding is moved to the right, where the causal mask alone hides it
        from every item.
        """
        length, is_item_BL = history_BL.shape[1], history_BL > 0
        num_padding_B1 = length - is_item_BL.sum(1, keepdim=True)
        shifted_BL = torch.arange(length, device=history_BL.device) + num_padding_B1
        source_BL = shifted_BL.clamp(max=length - 1)
        scale = items_RD.shape[1] ** 0.5
        embedded_BLD = functional.embedding(history_BL.gather(1, source_BL), items_RD) * scale
        x_BLD = self.dropout(embedded_BLD + functional.embedding(source_BL, self.positions[-length:]))
        cosine, sine, bucket_BLL = self.cosine_LH[:length], self.sine_LH[:length], None
        if times_BL is not None:
            age_BL = ages(times_BL, history_BL).gather(1, source_BL)
            if self.has_time_bias:
                bucket_BLL = gap_buckets(age_BL)
            else:
                cosine, sine = rotation_with_time(age_BL, self.head_dim)
        for block in self.blocks:
            x_BLD = block(x_BLD, cosine, sine, bucket_BLL)
        back_BL = (shifted_BL - 2 * num_padding_B1).clamp(min=0)
        return _take(self.norm(x_BLD), back_BL) * is_item_BL[..., None]

    def modules_to_compile(self) -> Iterator[nn.Module]:
        """The attention blocks."""
        yield from self.blocks


def _take(x_BLD: Tensor, index_BL: Tensor) -> Tensor:
    """x[b, index[b, l]]: float32 [B, L, D]."""
    return x_BLD.gather(1, index_BL[..., None].expand(-1, -1, x_BLD.shape[2]))
