"""How an encoder takes the times of a history. This module imports no torch: configurations name a mode."""

from enum import Enum


class HistoryTime(Enum):
    """What the times of a history do (`model.history_time`); each encoder says which of these it can."""

    none = "none"  # the order alone counts
    rotary = "rotary"  # transformer: half of each attention head turns by time, see towers/model/history/rotary.py
    bias = "bias"  # transformer: attention has a bias by the time in between, see towers/model/history/time_bias.py
    recency = "recency"  # pooled: the mean weighs items by a half-life, see towers/model/history/pooled.py
