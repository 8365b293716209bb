"""The adapter: ids in, ids out, whatever the log declares of its items."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from serve.api.adapter import RequestAdapter
from serve.api.schemas import Item, RecommendRequest
from serve.pipeline.messages import Explanation, Nearest, Ranked, Response
from serve.pipeline.source import Source
from serve.releases.release import Release


def test_rows_are_shown_with_their_features(release: Release) -> None:
    items = release.parts.items
    (shown,) = read(RequestAdapter(release, num_candidates=100), [3], [0.5])
    assert (shown.id, shown.title, shown.score) == (items.ids.values[2].as_py(), items.table["title"][2].as_py(), 0.5)
    assert shown.features == {name: items.table[name][2].as_py() for name in ("genres", "studio", "year", "length")}


def test_items_without_features_are_shown_too(release: Release) -> None:
    """As those of a log of nothing but pairs."""
    bare = replace(release, parts=replace(release.parts, items=replace(release.parts.items, features=())))
    adapter = RequestAdapter(bare, num_candidates=100)
    assert [(item.score, item.features) for item in read(adapter, [1, 2], [0.2, 0.1])] == [(0.2, {}), (0.1, {})]


def read(adapter: RequestAdapter, rows: list[int], scores: list[float]) -> list[Item]:
    return [
        Item(**item)
        for item in orjson.loads(orjson.dumps(adapter.render(rows, [{"score": score} for score in scores])))
    ]


def test_unknown_ids_are_told_apart(release: Release) -> None:
    known = release.parts.items.ids.values[0].as_py()
    request = RecommendRequest(user_id="u", history=[known, "what"], exclude=["ever"])
    query, unknown = RequestAdapter(release, num_candidates=100).query(request)
    assert (query.history, query.exclude) == ((1,), ())
    assert unknown == {"unknown_items": ["what", "ever"], "unknown_context": []}


@pytest.mark.parametrize(
    "condition",
    [
        {"field": "year", "op": "<", "value": 2**64},
        {"field": "year", "op": ">", "value": -(2**63) - 1},
        {
            "any": [
                {"field": "year", "op": "in", "value": [1, 10**30]},
                {"not": {"field": "studio", "op": "==", "value": "é"}},
            ]
        },
    ],
)
def test_an_explanation_repeats_the_filter_as_it_was_given(release: Release, condition: dict[str, Any]) -> None:
    adapter = RequestAdapter(release, num_candidates=100)
    request = RecommendRequest.model_validate_json(json.dumps({"explain": True, "filter": condition}))
    query, unknown = adapter.query(request)
    explanation = Explanation(candidates=None, ranked=None, nearest=None, num_excluded=0)
    response = Response(release.id, [1], [0.5], Source.popular, False, [], {}, explanation)
    content = adapter.answer(response, unknown, "id", filter=request.filter)
    assert json.loads(orjson.dumps(content))["explained"]["filter"] == condition


def test_an_explanation_names_no_recalled_item(release: Release) -> None:
    adapter = RequestAdapter(release, num_candidates=100)
    recalled, other = adapter.ids([2, 3])
    nearest = Nearest(np.array([[2, 3], [3, 2]]), np.array([[0.5, 0.25], [0.5, 0.25]], dtype=np.float32))
    explanation = Explanation(candidates=None, ranked=None, nearest=nearest, num_excluded=0)
    response = Response(release.id, [1, 4], [0.5, 0.4], Source.towers, False, [], {}, explanation)
    adapter.set_denylist([recalled])
    items = json.loads(orjson.dumps(adapter.answer(response, {}, "id")))["items"]
    named = [[near["id"] for near in item["explanation"]["nearest_history"]] for item in items]
    assert named == [[other], [other]]


def test_candidates_that_are_recalled_leave_the_others_in_their_order(release: Release) -> None:
    adapter = RequestAdapter(release, num_candidates=100)
    found = Ranked(release.id, np.array([5, 2, 3, 4]), np.array([4, 3, 2, 1], dtype=np.float32))
    made = Response(release.id, [5, 2, 3], [4.0, 3.0, 2.0], Source.towers, False, [], {}, None, found)
    assert adapter.without_denied(made) is made
    adapter.set_denylist(adapter.ids([2, 4]))
    left = adapter.without_denied(made)
    assert (left.rows, left.scores) == ([5, 3], [4.0, 2.0])
    assert left.found is not None
    assert left.found.rows_K.tolist() == [5, 3]


def test_an_item_that_is_recalled_while_it_is_explained_takes_its_explanation_with_it(release: Release) -> None:
    adapter = RequestAdapter(release, num_candidates=100)
    recalled, kept, once, twice = adapter.ids([5, 2, 3, 4])
    nearest = Nearest(np.array([[3, 4], [4, 3]]), np.array([[0.5, 0.25], [0.75, 0.5]], dtype=np.float32))
    explanation = Explanation(candidates=None, ranked=None, nearest=nearest, num_excluded=0)
    made = Response(release.id, [5, 2], [4.0, 3.0], Source.towers, False, [], {}, explanation)
    adapter.set_denylist([recalled])
    (item,) = json.loads(orjson.dumps(adapter.answer(adapter.without_denied(made), {}, "id")))["items"]
    near = [{"id": twice, "cosine": 0.75}, {"id": once, "cosine": 0.5}]
    assert (item["id"], item["explanation"]["nearest_history"]) == (kept, near)
    adapter.set_denylist([recalled, kept])
    assert adapter.answer(adapter.without_denied(made), {}, "id")["items"] == []
