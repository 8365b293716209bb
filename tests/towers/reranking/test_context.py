"""What a request comes with, as rows: the same for a log and for a request; and what it tells of items."""

from collections.abc import Iterator
from math import log
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest

from data.dataset.prepared import PreparedDataset
from towers.model import context
from towers.model.context import Context
from towers.reranking.context import PRIOR_STRENGTH, context_lift

CONTEXT = Context.of_json({"channel": ["app", "web"], "daypart": ["evening", "night"]})
VALUES = [["app", "evening"], ["web", None], ["fax", "night"]]


class Log:
    """Four interactions, with items 1, 1, 1 and 2 of three, in two parts: no process holds those of a whole log."""

    context = ("channel",)
    items = type("Items", (), {"num_rows": 4})

    def parts(self, *splits: str, columns: list[str]) -> Iterator[pa.Table]:
        table = pa.table({"item_row": [1, 1, 1, 2], "context": [["web"], ["app"], ["app"], [None]]})
        for start in (0, 2):
            yield table.slice(start, 2).select(columns)


LOG = cast(PreparedDataset, Log())


def test_a_log_and_a_request_give_the_same_rows() -> None:
    names = list(CONTEXT.vocabularies)
    wanted = [[1, 3], [2, 0], [0, 4]]
    assert CONTEXT.encode(pa.array(VALUES)).tolist() == wanted
    requests: Any = [{n: v for n, v in zip(names, values, strict=True) if v} for values in VALUES]
    assert [list(CONTEXT.rows(request | {"mood": "good"})) for request in requests] == wanted


def test_it_survives_json() -> None:
    again = Context.of_json(CONTEXT.as_json())
    assert again.as_json() == {"channel": ["app", "web"], "daypart": ["evening", "night"]}
    assert (len(again), again.num_values) == (2, 5)


def test_without_features_there_are_no_columns() -> None:
    assert Context().encode(pa.nulls(3, pa.list_(pa.string()))).shape == (3, 0)
    assert (Context().rows({"channel": "app"}), Context().num_values) == ((), 1)


def test_the_most_frequent_values_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Context.of(LOG, ["train"]).as_json() == {"channel": ["app", "web"]}
    monkeypatch.setattr(context, "MAX_VALUES", 1)
    assert Context.of(LOG, ["train"]).as_json() == {"channel": ["app"]}


def test_of_equally_frequent_values_the_first_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "MAX_VALUES", 2)
    monkeypatch.setattr(Log, "parts", lambda *_, columns: [pa.table({"context": [[of]]}) for of in "cab"])
    assert Context.of(LOG, ["train"]).as_json() == {"channel": ["a", "c"]}


def test_lift_by_hand() -> None:
    """Of four interactions two came by app; of item 1's three, two: log((2 + 10 / 2) / (3 + 10) / (1 / 2))."""
    found = context_lift(Context.of(LOG, ["train"]), LOG, ["train"])
    assert found.shape == (3, 4)
    app = [
        0,
        log((2 + PRIOR_STRENGTH / 2) / (3 + PRIOR_STRENGTH) * 2),
        log((PRIOR_STRENGTH / 2) / (1 + PRIOR_STRENGTH) * 2),
        0,
    ]
    web = [
        0,
        log((1 + PRIOR_STRENGTH / 4) / (3 + PRIOR_STRENGTH) * 4),
        log((PRIOR_STRENGTH / 4) / (1 + PRIOR_STRENGTH) * 4),
        0,
    ]
    assert found == pytest.approx(np.array([[0] * 4, app, web]), abs=1e-3)
