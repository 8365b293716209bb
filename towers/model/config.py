"""Configuration of the two towers."""

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from data.artifacts.bounds import bounded, check_bounds
from data.artifacts.errors import ConfigError
from data.sequences.histories import TIME, TYPE, HistoryOrder
from data.sources.schema import SPLITS
from towers.model.history import HISTORY_ENCODERS
from towers.model.history.time_modes import HistoryTime
from towers.model.tables import TABLES

if TYPE_CHECKING:
    from towers.model.history.encoder import HistoryEncoder
    from towers.model.tables.table import Table

ARCHITECTURE = 3
"""Version of the code that builds the towers; it enters the name of each run.

Raise it when the same configuration builds other towers than before, so that earlier runs are not reused.
"""


class IdTableStart(Enum):
    """How the id embedding tables are initialised."""

    random = "random"
    spectral = "spectral"  # see towers/model/spectral.py


class FittedSplits(Enum):
    """Which splits of the dataset the towers are fitted on (`train.fit_on`).

    `train_validation` leaves no split for early stopping. It is for a measurement whose number of epochs was chosen
    with `train` before. `all` is the final fit, which learns from every interaction
    (towers/training/stages/final_fit.py).
    """

    train = "train"
    train_validation = "train_validation"
    all = "all"

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, oldest first."""
        return SPLITS[: list(FittedSplits).index(self) + 1]


@dataclass(kw_only=True, slots=True)
class ModelConfig:
    """Both towers.

    Attributes:
        embedding_dim: length of user and item vectors, and of every embedding that goes into them.
        hidden_dim: width of each tower's residual perceptron; 0 leaves it out.
        dropout: share of entries dropped inside the perceptrons and the transformer.
        user_ids: whether users have embeddings of their own; without them, features and history alone describe a user.
        id_dropout: share of ids replaced by "unknown" in training, so that features and history learn to do without; at
            0, unknown ids are what features and history say, see `clears_unknown`.
        history: encoder of past items: none, pooled, transformer or a registered one (towers/model/history).
        history_length: number of latest items that the encoder reads.
        history_order: which of a user's other interactions the history of a training example holds; only for encoders
            that do not train on all positions.
        history_time: what the times of the history do: none (the order alone counts), rotary (transformer: attention
            depends on the time between two items too), bias (transformer: it does so by a learned bias, as in HSTU, and
            takes longer) or recency (pooled: younger items weigh more).
        history_half_life_days: the half-life of `recency` that training starts with; it is learned.
        history_types: whether the type of its event, such as click or purchase, changes what an item of the history
            says (towers/model/history/event_types.py).
        num_blocks, num_heads: numbers of attention blocks and of attention heads of the transformer.
        start: how the id embedding tables are initialised.
        context: whether the user tower takes the context of a request too, such as its channel or the part of the day.
        context_dropout: share of contexts that are left out in training, so that requests may come without one; and of
            histories whose event types are.
        smoothing: weight with which the vectors of an item's users are added to the item's own vector after training
            (towers/model/smoothing.py); 0 leaves it out.
        tables: where the rows of the tables of ids and of feature values are kept (towers/model/tables): whole, all of
            them on every worker; sharded, divided among the workers; hashed, in fewer rows than there are ids.
        hash_rows: largest number of rows of a hashed table.
    """

    embedding_dim: int = bounded(64, at_least=1, at_most=4096)
    hidden_dim: int = bounded(0, at_least=0)
    dropout: float = bounded(0.1, at_least=0, below=1)
    user_ids: bool = True
    id_dropout: float = bounded(0.1, at_least=0, below=1)
    history: str = "pooled"
    history_length: int = bounded(50, at_least=1, at_most=1000)
    history_order: HistoryOrder = HistoryOrder.before
    history_time: HistoryTime = HistoryTime.none
    history_half_life_days: float = bounded(30.0, above=0)
    history_types: bool = False
    num_blocks: int = bounded(2, at_least=1)
    num_heads: int = bounded(2, at_least=1)
    start: IdTableStart = IdTableStart.random
    context: bool = False
    context_dropout: float = bounded(0.2, at_least=0, below=1)
    smoothing: float = bounded(0.0, at_least=0)
    tables: str = "whole"
    hash_rows: int = bounded(1_000_000, at_least=2)

    def __post_init__(self) -> None:
        check_bounds(self, "model")
        if self.embedding_dim % self.num_heads:
            raise ConfigError(
                f"model.num_heads: {self.num_heads} must divide model.embedding_dim ({self.embedding_dim})"
            )
        HISTORY_ENCODERS.require(self.history)
        TABLES.require(self.tables)
        if self.tables == "hashed" and self.start is not IdTableStart.random:
            raise ConfigError(
                f"model.start: {self.start.value} gives each id a vector of its own, which hashed tables do not have;"
                " set model.start=random or model.tables=whole"
            )

    def check_history(self) -> None:
        """Raises ConfigError where values do not suit the history encoder, whose module this imports, and so torch."""
        self.history_encoder.check(self)
        modes = (HistoryTime.none, *self.history_encoder.time_modes)
        if self.history_time not in modes:
            raise ConfigError(
                f"model.history_time: {self.history_time.value} is not for model.history={self.history}, which takes"
                f" {' or '.join(mode.value for mode in modes)}"
            )
        if self.history_types and not self.history_encoder.reads_history:
            raise ConfigError(f"model.history_types: model.history={self.history} reads no history; set it to false")
        has_order = self.history_order is HistoryOrder.before or self.history_encoder.trains_on_all_positions
        if self.history_columns and not has_order:
            raise ConfigError(
                "model.history_order: others is for logs without an order, and takes neither model.history_time nor"
                " model.history_types; set it to before, or leave these out"
            )
        if not (self.user_ids or self.history_encoder.reads_history):
            raise ConfigError("model.user_ids: false needs a history, or nothing would be known of any user")

    @property
    def history_encoder(self) -> "type[HistoryEncoder]":
        """The class that `history` names."""
        return HISTORY_ENCODERS[self.history]

    def table(self, num_rows: int, embedding_dim: int, std: float) -> "Table":
        """A freshly initialised table, as `tables` says.

        Args:
            num_rows: rows that can be looked up.
            std: standard deviation of the initial values.
        """
        return TABLES[self.tables](num_rows, embedding_dim, std, self)

    def clears_unknown(self, side: str, has_features: bool) -> bool:
        """Whether the vector of ids without training data starts at zero, in the tower of a side ("user" or "item").

        Without id dropout nothing trains it: a random one, ten times as long as that of a feature, would drown what
        stands beside it. Where neither features nor a history do, it is random as it always was.
        """
        if self.id_dropout or (side == "user" and not self.user_ids):
            return False
        return has_features or (side == "user" and self.history_encoder.reads_history)

    @property
    def divides_rows(self) -> bool:
        """Whether the rows of tables are divided among the workers of a training."""
        return TABLES[self.tables].divides_rows

    @property
    def history_columns(self) -> tuple[str, ...]:
        """What histories must hold beside their items, as `data.sequences.histories.Sequences.of` takes it."""
        return ((TIME,) if self.history_time is not HistoryTime.none else ()) + ((TYPE,) if self.history_types else ())

    @property
    def num_history(self) -> int:
        """Number of latest items that the user tower reads: `history_length`, or 0 without a history."""
        return self.history_length if self.history_encoder.reads_history else 0
