"""The client: limits are checked before anything is sent, and failures say what happened."""

import pydantic
import pytest

from serve.client import AsyncRecommendClient, EndpointError, RecommendClient

ODD_IDS: list[dict[str, str]] = [{"request_id": id_} for id_ in ("a b", "é", "a\n", "x" * 257)]


def test_limits_are_checked_here() -> None:
    with RecommendClient("http://127.0.0.1:1") as client:
        for fields in ({"k": 0}, {"k": 101}, {"user_id": ""}, {"history": ["i"] * 201}, {"kk": 3}, *ODD_IDS):
            with pytest.raises(pydantic.ValidationError):
                client.recommend(**fields)


async def test_an_endpoint_that_is_not_there() -> None:
    with (
        RecommendClient("http://127.0.0.1:1") as client,
        pytest.raises(EndpointError, match="is `python -m serve.run` up"),
    ):
        client.live()
    async with AsyncRecommendClient("http://127.0.0.1:1") as other:
        with pytest.raises(EndpointError, match="no answer") as caught:
            await other.recommend(user_id="u")
    assert caught.value.status is None
