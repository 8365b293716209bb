"""An item that is recalled while an answer is made is not in it: whoever recalls waits for no request."""

import asyncio
from typing import Any

import pytest

from conf.schema import Config
from serve.api.adapter import RequestAdapter
from serve.api.schemas import RecommendRequest
from serve.deployment.answers.records import AnswerRecords
from serve.deployment.stages.local import LocalStages
from serve.pipeline.messages import Query, Response, UserVector
from serve.releases.registry import ReleaseRegistry
from tests.serve.deployment.answers.test_background import settings_of
from tests.serve.ingress_alone import ingress_alone
from tests.serve.rollout.test_two_phase import registry

__all__ = ["registry"]

K = 5


@pytest.mark.parametrize(("route", "stage"), [("recommend", "embed"), ("similar", "similar")])
async def test_an_answer_lacks_what_was_recalled_while_it_was_made(
    route: str, stage: str, tiny: Config, registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with ingress_alone(settings_of(tiny, registry)) as endpoint:
        runtime = endpoint.replica._releases.loaded
        asked = {"k": K} | ({"item_ids": runtime.adapter.ids([1])} if route == "similar" else {})

        async def answered() -> list[str]:
            answer = await endpoint.http("POST", f"/v1/{route}", json=asked)
            assert answer.status_code == 200
            return [item["id"] for item in answer.json()["items"]]

        recalled, *others = await answered()
        before = getattr(LocalStages, stage)

        def recalling(*arguments: Any) -> Any:
            runtime.set_denylist([recalled])
            return before(*arguments)

        monkeypatch.setattr(LocalStages, stage, recalling)
        assert await answered() == others
        assert len(await answered()) == K, "the next request gets others in its place"


async def test_an_answer_of_a_batch_lacks_what_was_recalled_while_it_waited_for_another(
    tiny: Config, registry: ReleaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recall comes when the first answer is rendered already."""
    recorded: list[list[str]] = []

    def add(_: AnswerRecords, adapter: RequestAdapter, request: RecommendRequest, answer: Response, *rest: Any) -> None:
        recorded.append(adapter.ids(answer.rows))

    async with ingress_alone(settings_of(tiny, registry)) as endpoint:
        runtime, rendered = endpoint.replica._releases.loaded, asyncio.Event()
        render, embed = runtime.adapter.answer, LocalStages.embed

        def rendering(*arguments: Any, **named: Any) -> dict[str, Any]:
            rendered.set()
            return render(*arguments, **named)

        async def recalling(stages: LocalStages, query: Query) -> UserVector:
            if query.user_id == "slow":
                await rendered.wait()
                runtime.set_denylist([recalled])
            return await embed(stages, query)

        async def answered() -> list[list[str]]:
            answers = (await endpoint.http("POST", "/v1/recommend/batch", json={"requests": asked})).json()["responses"]
            return [[item["id"] for item in answer["items"]] for answer in answers]

        asked = [{"k": K}, {"k": K, "user_id": "slow", "timeout_ms": 20_000}]
        (recalled, *others), _ = await answered()
        monkeypatch.setattr(AnswerRecords, "add_recommended", add)
        monkeypatch.setattr(runtime.adapter, "answer", rendering)
        monkeypatch.setattr(LocalStages, "embed", recalling)
        found = await answered()
        assert found[0] == others
        assert recalled not in found[1]
        assert recorded == found, "what is recorded is what was sent"


async def test_an_explanation_does_not_count_what_is_recalled(tiny: Config, registry: ReleaseRegistry) -> None:
    async with ingress_alone(settings_of(tiny, registry)) as endpoint:
        runtime = endpoint.replica._releases.loaded
        recalled, excluded, *_ = runtime.adapter.ids([1, 2])
        runtime.set_denylist([recalled])
        asked = {"explain": True, "exclude_seen": False, "exclude": [excluded, excluded]}
        answer = (await endpoint.http("POST", "/v1/recommend", json=asked)).json()
        assert answer["explained"]["num_excluded"] == 1
        assert not {item["id"] for item in answer["items"]} & {recalled, excluded}
