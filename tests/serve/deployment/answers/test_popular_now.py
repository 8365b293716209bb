"""What is popular now stands in wherever nothing better is found: for similar items too, and by the last context."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from serve.deployment.replica import ReplicaSettings
from serve.events.popular import now
from serve.events.popular.now import add_popular
from serve.index.protocol import IndexUnavailable
from serve.pipeline.retriever import Retriever
from tests.serve.deployment.answers.test_refusals import ITEM, LONG_S, config
from tests.serve.events.test_popular import CONFIG, event
from tests.serve.ingress_alone import IngressAlone, ingress_alone

__all__ = ["config"]

ANYWHERE, EVENING = "i00007", "i00011"
LONG_MS = 1000 * LONG_S


@pytest.fixture
async def endpoint(config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[IngressAlone]:
    """Whose retrieval fails. One item is popular now in the evening, and another one in all."""

    async def fails(*_: object) -> None:
        raise IndexUnavailable("gone")

    monkeypatch.setattr(now, "LEAST_USERS", 1)
    hour = time.time() / 3600
    happened = [event(EVENING, "buy", hour, part="evening")]
    happened += [event(ANYWHERE, "buy", hour, user) for user in ("v", "w")]
    storage = Folder.of(config.storage.root)
    add_popular(CONFIG, storage, f"part of {tmp_path}", happened)
    events = replace(config.events, path=str(tmp_path / "events.sqlite"), state_ms=LONG_MS)
    served = replace(config, serve=replace(config.serve, timeout_ms=LONG_MS, max_timeout_ms=LONG_MS))
    async with ingress_alone(ReplicaSettings.of(served, events)) as endpoint:
        for method in ("__call__", "similar"):
            monkeypatch.setattr(Retriever, method, fails)
        yield endpoint


async def becomes(endpoint: IngressAlone, wanted: str, path: str, **asked: Any) -> None:
    """Asks until this item comes first: popular items are read and looked up in the background."""
    async with asyncio.timeout(LONG_S):
        while await first(endpoint, path, **asked) != wanted:
            await asyncio.sleep(0.02)


async def first(endpoint: IngressAlone, path: str, **asked: Any) -> str:
    answer = await endpoint.http("POST", path, json={"k": 1, **asked})
    found: str = answer.json()["items"][0]["id"]
    return found


async def test_in_place_of_similar_items_come_those_that_are_popular_now(endpoint: IngressAlone) -> None:
    await becomes(endpoint, ANYWHERE, "/v1/recommend")
    await becomes(endpoint, ANYWHERE, "/v1/similar", item_ids=[ITEM])


async def test_the_last_context_says_what_is_popular_for_a_request_without_one(endpoint: IngressAlone) -> None:
    sent = {"event_id": "1", "user_id": "somebody", "item_id": ITEM, "type": "click", "context": {"part": "evening"}}
    assert (await endpoint.http("POST", "/v1/events", json={"events": [sent]})).status_code == 202
    await becomes(endpoint, EVENING, "/v1/recommend", context={"part": "evening"})
    await becomes(endpoint, EVENING, "/v1/recommend", user_id="somebody")
    await becomes(endpoint, EVENING, "/v1/recommend", user_id="somebody", context={"channel": "app"})
    await becomes(endpoint, ANYWHERE, "/v1/recommend", user_id="somebody", context={"part": "morning"})
    assert await first(endpoint, "/v1/recommend", user_id="somebody") == EVENING
