"""Numbers that JSON does not have are refused over gRPC in words for who sent them; they are no error of the server."""

from typing import Any

import grpc
import orjson
import pytest

from serve.access.control import AccessControl, install
from serve.api import recommender_pb2 as pb
from serve.api.events.reading import answer, read_events
from serve.api.grpc_service import Context, for_callers, json_values, reply_to
from serve.api.schemas import BatchRequest, RecommendRequest, SimilarRequest
from serve.events.protocol import Outcome
from tests.conformance.events import config
from tests.serve.ingress_alone import Call

WRONG = [float("nan"), float("inf"), float("-inf")]


async def refused(message: Any, model: Any) -> str:
    async def never(_: Any) -> dict[str, Any]:
        raise AssertionError("it was answered")

    @for_callers(pb.RecommendResponse)
    async def ask(_: None, message: Any, grpc_context: Context) -> pb.RecommendResponse:
        return await reply_to(message, model, pb.RecommendResponse, never)

    install(AccessControl(None))
    call = Call()
    assert await ask(None, message, call) == pb.RecommendResponse()
    assert call.code is grpc.StatusCode.INVALID_ARGUMENT
    return call.details


@pytest.mark.parametrize("number", WRONG)
async def test_a_struct_names_its_field(number: float) -> None:
    filtered = pb.RecommendRequest(user_id="u")
    filtered.filter.update({"field": "year", "op": "in", "value": [1, number]})
    assert "filter: holds NaN or an infinity" in await refused(filtered, RecommendRequest)
    batch = pb.BatchRequest(requests=[{}, filtered])
    assert "requests.1.filter: holds NaN or an infinity" in await refused(batch, BatchRequest)
    similar = pb.SimilarRequest()
    similar.features.update({"price": number})
    assert "features: holds NaN or an infinity" in await refused(similar, SimilarRequest)


@pytest.mark.parametrize("number", WRONG)
async def test_other_numbers_are_refused_by_their_field(number: float) -> None:
    assert "goals.buy" in await refused(pb.RecommendRequest(user_id="u", goals={"buy": number}), RecommendRequest)


@pytest.mark.parametrize("number", WRONG)
@pytest.mark.parametrize("field", ["time", "value"])
def test_events_are_refused_by_themselves(number: float, field: str) -> None:
    good = pb.Event(event_id="1", user_id="u", item_id="i", type="click")
    bad = pb.Event(event_id="2", user_id="u", item_id="i", type="click", **{field: number})
    batch = read_events(orjson.dumps(json_values(pb.EventsRequest(events=[good, bad]))), config())
    assert [event.event_id for event in batch.events] == ["1"]
    status, content = answer(batch, [Outcome.accepted], names_users=True)
    assert (status, content["detail"][0]["loc"][:3]) == (422, ("body", "events", 1))
