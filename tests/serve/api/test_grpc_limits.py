"""A message over gRPC is refused by its size before it is parsed, and the largest answers fit."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from serve import SETTINGS
from serve.access.control import AccessControl, install
from serve.api import recommender_pb2 as pb
from serve.api.adapter import FieldError
from serve.api.grpc_service import for_callers
from serve.api.limits import MAX_BATCH, MAX_BODY_BYTES, MAX_EVENTS, MAX_EVENTS_BYTES, MAX_ID, MAX_K
from serve.api.recommender_pb2_grpc import RecommenderStub
from tests.benchmarks.harness import servers

LIMIT = int(SETTINGS["RAY_SERVE_GRPC_MAX_MESSAGE_SIZE"])


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_what_is_too_large_is_refused_before_it_is_parsed(compression: grpc.Compression) -> None:
    """By a server with the options that Ray Serve gives its own."""
    from ray.serve._private.constants import DEFAULT_GRPC_SERVER_OPTIONS

    parsed: list[int] = []

    def parse(content: bytes) -> bytes:
        parsed.append(len(content))
        return content

    method = grpc.unary_unary_rpc_method_handler(lambda message, context: b"", request_deserializer=parse)
    server = grpc.server(ThreadPoolExecutor(1), options=DEFAULT_GRPC_SERVER_OPTIONS)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Any", {"Ask": method}),))
    port = servers.free_port()
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        with grpc.insecure_channel(f"127.0.0.1:{port}", compression=compression) as channel:
            ask = channel.unary_unary("/Any/Ask")
            for size in (100 * 2**20, LIMIT + 1):
                with pytest.raises(grpc.RpcError) as refused:
                    ask(bytes(size), timeout=60)
                assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            assert parsed == []
            ask(bytes(MAX_EVENTS_BYTES), timeout=60)
            assert parsed == [MAX_EVENTS_BYTES]
    finally:
        server.stop(None)


class Refusing:
    """Refuses every event of a message by its place, as the ingress does."""

    @for_callers(pb.EventsResponse)
    async def PostEvents(self, message: pb.EventsRequest, grpc_context: Any) -> pb.EventsResponse:
        why = "; ".join(f"events.{place}.type: {event.type!r} is unknown" for place, event in enumerate(message.events))
        raise FieldError((), f"accepted 0, duplicates 0; refused {why}")


@pytest.mark.parametrize("kind", ["a type that nobody has declared", "тип, которого никто не объявил"])
async def test_a_client_is_told_of_all_events_that_they_are_refused(kind: str) -> None:
    """Of details that are too long for its trailers it would hear RESOURCE_EXHAUSTED, and try again for ever."""
    install(AccessControl(None))
    method = grpc.unary_unary_rpc_method_handler(
        Refusing().PostEvents,
        request_deserializer=pb.EventsRequest.FromString,
        response_serializer=pb.EventsResponse.SerializeToString,
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("twotower.v1.Recommender", {"PostEvents": method}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await RecommenderStub(channel).PostEvents(pb.EventsRequest(events=[pb.Event(type=kind)] * MAX_EVENTS))
    finally:
        await server.stop(None)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = str(refused.value.details())
    assert details.startswith(f"accepted 0, duplicates 0; refused events.0.type: {kind!r} is unknown; events.1.")
    assert details.endswith("(cut: gRPC takes no more)")


def test_the_largest_answer_fits() -> None:
    """A batch with explanations whose ids are as long as they may be, of items with a kilobyte of features each."""
    id_ = "i" * MAX_ID
    nearest = [{"id": id_, "cosine": 0.5}] * 3
    item = {
        "id": id_,
        "title": "t" * 100,
        "score": 0.5,
        "features": {"genres": ["Drama"] * 10, "year": 1999, "text": "x" * 1000},
        "explanation": {"retrieval_rank": 1, "retrieval_score": 1.0, "rerank_score": 1.0, "nearest_history": nearest},
    }
    answer = ParseDict({"request_id": id_, "items": [item] * MAX_K}, pb.RecommendResponse())
    assert pb.BatchResponse(responses=[answer] * MAX_BATCH).ByteSize() + MAX_BODY_BYTES < LIMIT


def test_the_guide_says_what_overload_is() -> None:
    """A replica that is full refuses calls itself, before any code of the endpoint says what they are."""
    from ray.serve._private.grpc_util import get_grpc_response_status
    from ray.serve.exceptions import BackPressureError

    full = BackPressureError(num_queued_requests=1, max_queued_requests=1)
    code = get_grpc_response_status(full, None, "id").code
    guide = (Path(__file__).parents[3] / "docs" / "services.md").read_text()
    assert f"overload is {code.name}" in " ".join(guide.split())


def test_the_operators_guide_says_that_no_alert_covers_overload_over_grpc() -> None:
    """The budgets claimed that the replicas count all that fails by gRPC: a full one refuses before it counts."""
    guide = " ".join((Path(__file__).parents[3] / "docs" / "operators.md").read_text().split())
    _, _, runbook = guide.partition("### ErrorBudgetFast ")
    assert "Overload over gRPC is in no budget" in runbook.partition("### ")[0]
