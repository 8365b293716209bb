"""An item that is recalled while an answer is made is not in it: whoever recalls waits for no request."""

from typing import Any

import pytest

from conf.schema import Config
from serve.deployment.stages.local import LocalStages
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
