"""Each control of the first view changes the request, by NiceGUI's simulated user."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_simulation import user_simulation

from serve.api.problems import EndpointError
from serve.api.schemas import Item, RecommendResponse, Source
from serve.viewer.views import register
from tests.serve.viewer.two_releases import two_releases


class Endpoint:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    async def recommend(self, **body: Any) -> RecommendResponse:
        self.asked.append(body)
        return RecommendResponse(
            request_id="r", release_id="left", source=Source.towers, degraded=False, reasons=[], unknown_items=[],
            unknown_context=[], items=[Item(id="b", title="", score=1.0, features={})], timings_ms={},
        )  # fmt: skip

    async def user(self, user_id: str) -> Any:
        raise EndpointError("none", 404)


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
async def user(endpoint: Endpoint, tmp_path: Path) -> AsyncIterator[User]:
    viewer = two_releases(tmp_path, endpoint)
    viewer.catalogues("left").manifest["context"] = {"device": ["phone", "tv"]}
    async with user_simulation() as simulated:
        register(viewer)
        await simulated.open("/?user=u")
        await simulated.should_see("+ history", retries=50)
        yield simulated


async def asked(endpoint: Endpoint, number: int) -> dict[str, Any]:
    """The request of this number, without what each of them has."""
    for _ in range(500):
        if len(endpoint.asked) > number:
            return {k: v for k, v in endpoint.asked[number].items() if k not in ("k", "explain")}
        await asyncio.sleep(0.02)
    raise AssertionError(f"only {len(endpoint.asked)} requests")


def labelled(user: User, kind: type[Any], label: str) -> Any:
    [found] = [element for element in user.find(kind).elements if element.props.get("label") == label]
    return found


async def test_seen_items_the_deadline_and_the_context(user: User, endpoint: Endpoint) -> None:
    user.find(ui.checkbox).elements.pop().set_value(False)
    assert await asked(endpoint, 1) == {"user_id": "u", "exclude_seen": False}
    user.find(ui.checkbox).elements.pop().set_value(True)
    assert await asked(endpoint, 2) == {"user_id": "u"}
    labelled(user, ui.number, "deadline, ms").set_value(40)
    assert await asked(endpoint, 3) == {"user_id": "u", "timeout_ms": 40}
    labelled(user, ui.number, "deadline, ms").set_value(None)
    labelled(user, ui.select, "device").set_value("tv")
    assert await asked(endpoint, 5) == {"user_id": "u", "context": {"device": "tv"}}
    labelled(user, ui.select, "device").set_value("")
    assert await asked(endpoint, 6) == {"user_id": "u"}


async def test_the_history_is_added_to_and_taken_from(user: User, endpoint: Endpoint) -> None:
    user.find("+ history").click()
    assert (await asked(endpoint, 1))["history"] == ["b"]
    await user.should_see("added to the history:", retries=50)
    user.find("b  ×").click()
    assert "history" not in await asked(endpoint, 2)


@pytest.mark.parametrize("which", ["random", "heavy", "cold"])
async def test_a_user_is_picked_by_chance(user: User, endpoint: Endpoint, which: str) -> None:
    user.find(which).click()
    assert (await asked(endpoint, 1))["user_id"] in ("u", "v")
