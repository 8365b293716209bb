"""A refusal names the request of a batch that is wrong, and the field in it, over gRPC as over HTTP."""

from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from serve.api import recommender_pb2 as pb
from tests.serve.deployment.answers.test_refusals import Start, config, start, storage

__all__ = ["config", "start", "storage"]

WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"filter": {"field": "nothing", "op": "==", "value": 1}}, ["filter"]),
    ({"filter": {"field": "price", "op": "has", "value": 1}}, ["filter"]),
    ({"goals": {"buy": 2}}, ["goals", "buy"]),
    ({"k": 0}, ["k"]),
]


@pytest.mark.parametrize(("wrong", "place"), WRONG)
async def test_the_details_of_a_batch_begin_with_the_place(
    wrong: dict[str, Any], place: list[str], start: Start
) -> None:
    async with start() as endpoint:
        batch = {"requests": [{}, {}, wrong, {}]}
        refused = await endpoint.http("POST", "/v1/recommend/batch", json=batch)
        assert (refused.status_code, refused.json()["detail"][0]["loc"]) == (422, ["body", "requests", 2, *place])
        call = await endpoint.grpc("RecommendBatch", ParseDict(batch, pb.BatchRequest()))
        assert call.code is grpc.StatusCode.INVALID_ARGUMENT
        assert call.details.startswith(".".join(["requests", "2", *place]))
        alone = await endpoint.grpc("Recommend", ParseDict(wrong, pb.RecommendRequest()))
        assert call.details == f"requests.2.{alone.details}"
        assert alone.details.startswith(".".join(place))
