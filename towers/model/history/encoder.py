"""What a history encoder is.

Shape legend: B batch, L history length, R distinct items of a batch's histories (row 0 = padding), D dimension.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Protocol

from torch import Tensor, nn

from towers.model.history.time_modes import HistoryTime


class HistorySettings(Protocol):
    """What a history encoder is built from: the fields of `towers.model.config.ModelConfig` that concern it."""

    @property
    def embedding_dim(self) -> int: ...
    @property
    def dropout(self) -> float: ...
    @property
    def history_length(self) -> int: ...
    @property
    def num_blocks(self) -> int: ...
    @property
    def num_heads(self) -> int: ...
    @property
    def history_time(self) -> HistoryTime: ...
    @property
    def history_half_life_days(self) -> float: ...


class HistoryEncoder(nn.Module, ABC):
    """Turns the embedded items of a history, oldest first, into a part of the user vector.

    A subclass is built from `HistorySettings` alone and registers itself with `@HISTORY_ENCODERS.register(name)`.

    Attributes:
        reads_history: whether the encoder uses the history; False only for `none`.
        trains_on_all_positions: whether the encoder gives a vector after each item of a history (`all_positions`), and
            training takes each next item as a positive. Otherwise each training example is one interaction with its
            history.
        time_modes: what the encoder can do with times. Its methods are given `times_BL` where `model.history_time` is
            one of them, and otherwise not, so that an encoder without any need not have the argument.
    """

    reads_history: ClassVar[bool] = True
    trains_on_all_positions: ClassVar[bool] = False
    time_modes: ClassVar[tuple[HistoryTime, ...]] = ()

    def __init__(self, config: HistorySettings) -> None:
        super().__init__()

    @classmethod
    def check(cls, config: HistorySettings) -> None:
        """Raises ConfigError where values of the configuration do not suit this encoder."""

    @abstractmethod
    def forward(self, history_BL: Tensor, items_RD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """Encodes whole histories.

        Args:
            history_BL: int, indices into `items_RD`, oldest first, padded with 0 on the left.
            items_RD: float32, embeddings of the distinct items.
            times_BL: int64, unix seconds of each item, anything at padding; None without `model.history_time`.

        Returns:
            float32 [B, D].
        """

    def all_positions(self, history_BL: Tensor, items_RD: Tensor, times_BL: Tensor | None = None) -> Tensor:
        """float32 [B, L, D]: the encoded history up to and including each position; zero at padding.

        The arguments are those of `forward`.

        Raises:
            NotImplementedError: the encoder does not set `trains_on_all_positions`.
        """
        raise NotImplementedError(f"{type(self).__name__} encodes whole histories only")

    def modules_to_compile(self) -> Iterator[nn.Module]:
        """The parts that gain from torch.compile, for `train.compile`; none by default."""
        yield from ()
