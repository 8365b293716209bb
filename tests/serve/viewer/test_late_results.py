"""What comes late, when something else was asked for meanwhile, is not shown: views by NiceGUI's simulated user."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from nicegui import ui
from nicegui.testing import User
from nicegui.testing.user_simulation import user_simulation

from serve.api.schemas import Item, ItemExplanation, NearestItem, RecommendResponse, Source
from serve.viewer.endpoint import EndpointError
from serve.viewer.reading.comparison import Compared
from serve.viewer.views import register
from tests.serve.viewer.two_releases import TwoReleases, two_releases


class Late(TwoReleases):
    """The first comparison and the first map are there only when they may be."""

    gate = asyncio.Event()
    asked: list[Any] = []

    async def compare(self, sides: tuple[str, str], k: int) -> Compared:
        found = await super().compare(sides, k)
        await self.wait((sides, k))
        return found

    async def item_map(self, release_id: str, feature: str, chosen: Sequence[str], user_id: str) -> Any:
        await self.wait(user_id)
        return SimpleNamespace(groups={"items": []}, marked={}, explained=(0.5, 0.5), num_items=len(user_id))

    async def wait(self, asked: Any) -> None:
        self.asked.append(asked)
        if len(self.asked) == 1:
            await self.gate.wait()


class Endpoint:
    """Recommends an item named after the user, because of the item `a`."""

    async def recommend(self, *, user_id: str, **_: Any) -> RecommendResponse:
        near = ItemExplanation(
            retrieval_rank=1, retrieval_score=0.5, rerank_score=0.1, nearest_history=[NearestItem(id="a", cosine=0.5)]
        )
        item = Item(id=f"for-{user_id}", title="", score=1.0, features={}, explanation=near)
        return RecommendResponse(
            request_id="r", release_id="left", source=Source.towers, degraded=False, reasons=[], unknown_items=[],
            unknown_context=[], items=[item], timings_ms={},
        )  # fmt: skip

    async def user(self, user_id: str) -> Any:
        raise EndpointError("none", 404)

    async def similar(self, item_id: str, k: int = 10) -> Any:
        raise EndpointError("none", 404)


@asynccontextmanager
async def opened(viewer: TwoReleases, path: str) -> AsyncIterator[User]:
    async with user_simulation() as user:
        register(viewer)
        await user.open(path)
        yield user


@pytest.fixture
def viewer(tmp_path: Path) -> Late:
    Late.gate, Late.asked = asyncio.Event(), []
    made = two_releases(tmp_path, Endpoint(), Late)
    assert isinstance(made, Late)
    return made


async def until(holds: Any) -> None:
    for _ in range(500):
        if holds():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("waited in vain")


async def test_a_comparison_belongs_to_the_choices_that_are_shown(viewer: Late) -> None:
    async with opened(viewer, "/side-by-side?user=u&left=left:full&right=right:full&k=10") as user:
        await user.should_see("compare for", retries=50)
        user.find("compare for").click()
        await until(lambda: len(viewer.asked) == 1)
        user.find(ui.number).elements.pop().set_value(1)
        right = max(user.find(ui.select).elements, key=lambda select: select.id)
        right.set_value("left:towers")
        assert viewer.asked == [(("left:full", "right:full"), 10)]  # not changed by the choice
        viewer.gate.set()
        await asyncio.sleep(0.2)
        await user.should_not_see("Overlap of the first")
        user.find("compare for").click()
        await user.should_see("Overlap of the first 1", retries=50)
        assert viewer.asked[1] == (("left:full", "left:towers"), 1)
        links = [e.props["href"] for e in user.find("u (").elements]
        assert links
        assert all("k=1&left=left%3Afull&right=left%3Atowers" in link for link in links)


async def test_a_late_map_does_not_replace_a_newer_one(viewer: Late) -> None:
    async with opened(viewer, "/items?item=a") as user:
        await user.should_see("draw the map", retries=50)
        await user.should_see("Audience", retries=50)
        field = max(user.find(ui.input).elements, key=lambda one: one.id)
        field.set_value("late")
        await until(lambda: viewer.asked == ["late"])
        field.set_value("newer user")
        await user.should_see(ui.echart, retries=50)
        viewer.gate.set()
        await asyncio.sleep(0.2)
        [plot] = user.find(ui.echart).elements
        assert plot.options["title"]["text"].startswith(f"{len('newer user')} items")


async def test_a_late_answer_does_not_replace_a_newer_one(viewer: Late, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue, gate, calls = viewer.catalogues("left"), threading.Event(), list[str]()
    display = catalogue.display

    def slow(ids: Sequence[str]) -> Any:
        calls.append("")
        if len(calls) == 2:  # the titles of the first answer, after the history of its user
            gate.wait(30)
        return display(ids)

    monkeypatch.setattr(catalogue, "display", slow)
    async with opened(viewer, "/?user=u") as user:
        await until(lambda: len(calls) == 2)
        user.find(ui.input).elements.pop().set_value("v")
        user.find("ask").click()
        await user.should_see("for-v", retries=50)
        gate.set()
        await asyncio.sleep(0.2)
        await user.should_see("for-v")
        await user.should_not_see("for-u")
