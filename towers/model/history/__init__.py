"""Encoders of a user's history, by the name that `model.history` gives them: one file for each."""

from typing import TYPE_CHECKING

from data.artifacts.registry import Registry

if TYPE_CHECKING:
    from towers.model.history.encoder import HistoryEncoder

HISTORY_ENCODERS: Registry["type[HistoryEncoder]"] = Registry("model.history", __name__)
