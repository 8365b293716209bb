"""Whose history an explanation names: that of the request to everybody, that of the user to who may read users."""

import pytest
from google.protobuf.json_format import MessageToDict, ParseDict

from serve.access.config import AuthConfig, KeyConfig
from serve.access.key_file import KeyFile
from serve.access.scopes import Scope
from serve.api import recommender_pb2 as pb
from tests.serve.deployment.answers.test_refusals import ITEM, USER, Start, config, keys, start, storage
from tests.serve.ingress_alone import IngressAlone

__all__ = ["config", "keys", "start", "storage"]

LONG_MS = 20_000


async def named(endpoint: IngressAlone, key: str, history: list[str]) -> list[set[str]]:
    """The items of a history that an answer names: by HTTP and gRPC, and by a batch over each."""
    asked = {"user_id": USER, "k": 3, "explain": True, "history": history, "timeout_ms": LONG_MS}
    batch = {"requests": [{}, asked]}
    answers = [
        (await endpoint.http("POST", "/v1/recommend", key, json=asked)).json(),
        (await endpoint.http("POST", "/v1/recommend/batch", key, json=batch)).json()["responses"][1],
        replied((await endpoint.grpc("Recommend", ParseDict(asked, pb.RecommendRequest()), key)).reply),
        replied((await endpoint.grpc("RecommendBatch", ParseDict(batch, pb.BatchRequest()), key)).reply.responses[1]),
    ]
    assert [len(answer["items"]) for answer in answers] == 4 * [3]
    near = [[item["explanation"].get("nearest_history", []) for item in answer["items"]] for answer in answers]
    return [{one["id"] for of_item in of_answer for one in of_item} for of_answer in near]


def replied(reply: pb.RecommendResponse) -> dict:  # type: ignore[type-arg]
    return MessageToDict(reply, preserving_proto_field_name=True)


@pytest.mark.parametrize("scopes", [[Scope.read_users, Scope.recommend], [Scope.admin]])
async def test_who_may_not_read_users_is_told_no_history_but_that_of_the_request(
    scopes: list[Scope], start: Start, keys: tuple[AuthConfig, KeyFile]
) -> None:
    auth, file = keys
    shop = file.add("shop", KeyConfig(scopes=[Scope.recommend]))
    desk = file.add("desk", KeyConfig(scopes=scopes))
    root = file.add("root", KeyConfig(scopes=[Scope.admin]))
    async with start(auth, timeout_ms=LONG_MS, max_timeout_ms=LONG_MS) as endpoint:
        assert await named(endpoint, shop, []) == 4 * [set()]
        assert await named(endpoint, shop, [ITEM]) == 4 * [{ITEM}]
        known = set((await endpoint.http("GET", f"/v1/users/{USER}", root)).json()["release_history"])
        for told in await named(endpoint, desk, []):
            assert told and told <= known


async def test_where_nobody_is_asked_everybody_is_told(start: Start) -> None:
    async with start(timeout_ms=LONG_MS, max_timeout_ms=LONG_MS) as endpoint:
        asked = {"user_id": USER, "explain": True}
        items = (await endpoint.http("POST", "/v1/recommend", json=asked)).json()["items"]
        assert items[0]["explanation"]["nearest_history"]
