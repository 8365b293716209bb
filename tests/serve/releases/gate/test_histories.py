"""Histories of one checkpoint's dataset in the rows of another keep their times, and their event types by name."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data.dataset.vocabulary import Vocabulary
from data.sequences.histories import TIME, TYPE, Sequences
from serve.releases.gate.comparison import in_rows_of
from towers.evaluation.queries import HeldOut
from towers.model.history.event_types import EventTypeShift

LOG = pa.table(
    {
        "user_row": pa.array([1, 1, 1, 2], pa.int32()),
        "item_row": pa.array([1, 3, 2, 1], pa.int32()),
        "time": [10, 20, 30, 40],
        "type": pa.array([0, 1, None, 1], pa.int16()),
    }
)


def ids(*values: str) -> Any:
    return SimpleNamespace(ids=Vocabulary(pa.array(values, pa.string())))


@pytest.mark.parametrize("names", [("view", "buy"), ("view",), None])
def test_moments_in_other_rows(names: tuple[str, ...] | None) -> None:
    dataset: Any = SimpleNamespace(
        users=ids("u", "v"), items=ids("a", "b", "c"), event_type_names=("buy", "click"), context=()
    )
    shift = None if names is None else EventTypeShift(names, 4, 0.0)
    parts: Any = SimpleNamespace(
        users=ids("v", "x", "u"), items=ids("c", "a"), model=SimpleNamespace(event_types=shift),
        reranker=SimpleNamespace(context=SimpleNamespace(vocabularies={})),
    )  # fmt: skip
    sequences = Sequences.of(LOG, 3, (TIME, TYPE))
    held_out = HeldOut(np.array([1, 2], np.int32), (np.array([0]), np.array([3])), sequences)
    found = in_rows_of(parts, held_out, dataset).history
    assert found.of_user(3).tolist() == [2, 1], "item b is unknown there"
    assert found.times_N is not None and found.types_N is not None
    assert found.of_user(3, found.times_N).tolist() == [10, 20]
    assert found.of_user(1, found.times_N).tolist() == [40]
    assert found.of_user(3, found.types_N).tolist() == [2 if names == ("view", "buy") else 0, 0], "a click is unknown"
    plain = HeldOut(held_out.user_rows_Q, held_out.relevant, Sequences.of(LOG, 3))
    assert in_rows_of(parts, plain, dataset).history.times_N is None
