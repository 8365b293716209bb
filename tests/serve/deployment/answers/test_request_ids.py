"""The id of each answer is one that events may name, whatever the request brings."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from ray.serve import context

from serve.api import recommender_pb2 as pb
from serve.api.events.schemas import EventRequest
from serve.api.limits import MAX_BATCH, MAX_ID
from tests.serve.deployment.answers.test_refusals import ITEM, USER, Start, config, start, storage

__all__ = ["config", "start", "storage"]


@contextmanager
def brought(request_id: str) -> Iterator[None]:
    """A request's id, as Ray Serve would hand it over."""
    token = context._serve_request_context.set(context._RequestContext(request_id=request_id))
    try:
        yield
    finally:
        context._serve_request_context.reset(token)


@pytest.mark.parametrize(
    "request_id",
    ["mine", "x" * 253, "x" * 254, "x" * MAX_ID, "x" * 60_000, "a b", "\xff", ""],
    ids=lambda id_: f"{id_[:8]!a} of {len(id_)}",
)
async def test_events_may_name_the_ids_of_answers(start: Start, request_id: str) -> None:
    requests = [{"user_id": USER, "k": 1}] * MAX_BATCH
    async with start() as endpoint:
        with brought(request_id):
            one = await endpoint.http("POST", "/v1/recommend", json=requests[0])
            similar = await endpoint.http("POST", "/v1/similar", json={"item_ids": [ITEM], "k": 1})
            batch = await endpoint.http("POST", "/v1/recommend/batch", json={"requests": requests})
            by_grpc = await endpoint.grpc("Recommend", pb.RecommendRequest(user_id=USER))
    ids = [answer["request_id"] for answer in batch.json()["responses"]]
    assert len({id_.rpartition(".")[0] for id_ in ids}) == 1
    assert [id_.rpartition(".")[2] for id_ in ids] == [str(number) for number in range(MAX_BATCH)]
    for id_ in (one.json()["request_id"], similar.json()["request_id"], by_grpc.reply.request_id, *ids):
        EventRequest(event_id="1", user_id=USER, item_id=ITEM, type="click", request_id=id_)
    if request_id.startswith(("mine", "x")) and len(request_id) <= MAX_ID:
        assert one.json()["request_id"] == similar.json()["request_id"] == by_grpc.reply.request_id == request_id
    assert ids[0].startswith(f"{request_id}.") == (len(request_id) <= 253 and request_id.startswith(("mine", "x")))
