"""What the demonstration sends, where its endpoint has little to answer."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from conf.schema import load
from serve.api.events.schemas import EventsResponse
from serve.api.schemas import RecommendResponse, SimilarResponse
from serve.demonstration.requests import send_example_events


class NothingLeft:
    """An endpoint whose user has seen every item; it takes no event."""

    def recommend(
        self, *, user_id: str | None = None, request_id: str | None = None, **fields: Any
    ) -> RecommendResponse:
        return RecommendResponse.model_validate(
            {
                "request_id": "1", "release_id": "r", "source": "towers", "degraded": False, "reasons": [],
                "unknown_items": [], "unknown_context": [], "items": [], "timings_ms": {},
            }
        )  # fmt: skip

    def similar(self, item_id: str, k: int = 10) -> SimilarResponse:
        raise AssertionError("there is no item to ask about")

    def send_events(self, events: Sequence[Mapping[str, Any]]) -> EventsResponse:
        raise AssertionError("there is no item to post")


def test_a_user_who_has_seen_everything_ends_no_demonstration(capsys: pytest.CaptureFixture[str]) -> None:
    """Each demonstration posts three purchases of the same user, and they count as seen for 90 days."""
    assert send_example_events(NothingLeft(), "u00042", 5, load().events) == {}
    assert "No item is left to recommend to u00042" in capsys.readouterr().out
