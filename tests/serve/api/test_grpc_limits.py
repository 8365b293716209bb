"""A message over gRPC is refused by its size before it is parsed, and the largest answers fit."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from serve import SETTINGS
from serve.api import recommender_pb2 as pb
from serve.api.limits import MAX_BATCH, MAX_BODY_BYTES, MAX_EVENTS_BYTES, MAX_ID, MAX_K
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
