"""gRPC answers what HTTP answers, and refuses what HTTP refuses."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from conf.entry import FOLDER
from serve.api import recommender_pb2 as pb
from serve.api.limits import MAX_BATCH, MAX_BODY_BYTES
from serve.api.recommender_pb2_grpc import RecommenderStub
from serve.client import RecommendClient

pytestmark = pytest.mark.slow

REPOSITORY = FOLDER.parent
PROTO = REPOSITORY / "serve" / "api" / "recommender.proto"


@pytest.fixture(scope="module")
def stub(fused: tuple[str, str]) -> Iterator[RecommenderStub]:
    with grpc.insecure_channel(fused[1]) as channel:
        yield RecommenderStub(channel)


@pytest.fixture(scope="module")
def client(fused: tuple[str, str]) -> Iterator[RecommendClient]:
    with RecommendClient(fused[0], timeout_s=30) as client:
        yield client


def plain(message: Any) -> dict[str, Any]:
    """A reply in the words of the JSON API, without what differs from call to call."""
    fields = MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    return without(fields)


def without(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in ("request_id", "timings_ms")}


def about(value: Any) -> Any:
    """A value to compare with, its floats within a tolerance: their last bits depend on what shares a batch."""
    if isinstance(value, dict):
        return {name: about(part) for name, part in value.items()}
    if isinstance(value, list):
        return [about(part) for part in value]
    return pytest.approx(value, rel=1e-4, abs=1e-4) if isinstance(value, float) else value


def test_recommendations_are_those_of_http(stub: RecommenderStub, client: RecommendClient, known_user: str) -> None:
    asked: dict[str, Any] = {
        "user_id": known_user,
        "k": 7,
        "filter": {"field": "year", "op": ">=", "value": 1980},
        "context": {"daypart": "evening", "mood": "good"},
        "explain": True,
    }
    reply = stub.Recommend(ParseDict(asked, pb.RecommendRequest()))
    answer = client.recommend(**asked).model_dump(mode="json", exclude_none=True)
    assert len(reply.items) == 7
    assert plain(reply) == about(without(answer))
    assert set(reply.timings_ms) == set(answer["timings_ms"])


def test_what_is_left_out_has_the_same_defaults(stub: RecommenderStub, client: RecommendClient) -> None:
    reply = stub.Recommend(pb.RecommendRequest())
    assert plain(reply) == about(without(client.recommend().model_dump(mode="json", exclude_none=True)))


def test_batches_and_similar_items_are_those_of_http(
    stub: RecommenderStub, client: RecommendClient, known_user: str
) -> None:
    batch = stub.RecommendBatch(pb.BatchRequest(requests=[pb.RecommendRequest(user_id=known_user, k=3)] * 2))
    (first, second) = (plain(response) for response in batch.responses)
    answer = client.recommend(user_id=known_user, k=3).model_dump(mode="json", exclude_none=True)
    assert first == about(second)
    assert second == about(without(answer))
    item = first["items"][0]["id"]
    similar = stub.Similar(pb.SimilarRequest(item_ids=[item], k=4))
    assert plain(similar) == about(without(client.similar(item, 4).model_dump(mode="json", exclude_none=True)))


@pytest.mark.parametrize(
    ("method", "message", "said"),
    [
        ("Recommend", pb.RecommendRequest(k=0), "k: Input should be greater than or equal to 1"),
        ("Recommend", ParseDict({"filter": {"field": "?"}}, pb.RecommendRequest()), "filter: "),
        ("RecommendBatch", pb.BatchRequest(requests=[pb.RecommendRequest()] * (MAX_BATCH + 1)), "requests: "),
        (
            "Recommend",
            pb.RecommendRequest(filter={"field": "year", "op": "==", "value": float("nan")}),
            "filter: holds",
        ),
        ("Similar", pb.SimilarRequest(), "give either item_ids or features"),
        ("Recommend", pb.RecommendRequest(user_id="u" * MAX_BODY_BYTES), f"larger than {MAX_BODY_BYTES} bytes"),
    ],
    ids=["k", "filter", "batch", "nan", "neither", "size"],
)
def test_bad_messages_name_the_field_and_the_cure(stub: RecommenderStub, method: str, message: Any, said: str) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        getattr(stub, method)(message)
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert said in raised.value.details()


def test_the_request_id_comes_back(stub: RecommenderStub) -> None:
    reply = stub.Recommend(pb.RecommendRequest(k=1), metadata=[("request_id", "caller-7")])
    assert reply.request_id == "caller-7"


def test_the_generated_modules_are_those_of_the_proto(tmp_path: Path) -> None:
    options = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    compiler = [sys.executable, "-m", "grpc_tools.protoc", f"-I{REPOSITORY}", *options]
    subprocess.run([*compiler, "serve/api/recommender.proto"], check=True, cwd=REPOSITORY)
    made = sorted((tmp_path / "serve" / "api").iterdir())
    assert [file.name for file in made] == ["recommender_pb2.py", "recommender_pb2.pyi", "recommender_pb2_grpc.py"]
    for file in made:
        assert file.read_text() == (PROTO.parent / file.name).read_text(), "run make proto"
