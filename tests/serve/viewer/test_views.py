"""Each view of the page, opened and used in a browser beside a running endpoint."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from data.cluster.session import metrics_addresses
from serve.client import RecommendClient
from serve.deployment.settings import ScaleConfig
from serve.events.config import EventsConfig
from serve.releases.registry import ReleaseRegistry
from serve.viewer.reading.item_map import MARKED
from tests.benchmarks.harness.servers import free_port
from tests.serve.viewer.browsing import GROUPS, ask_until_drawn, examine, finds_an_emptied_plot, opened, wait_until
from tests.serve.viewer.conftest import Pages
from tests.serve.viewer.small_sweep import write_sweep

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from serve.releases.release import Release

VIEWS = {
    "answers": "/?user={user}", "side-by-side": "/side-by-side?user={user}", "items": "/items?user={user}",
    "releases": "/releases", "live": "/live", "sweeps": "/sweeps",
}  # fmt: skip


@pytest.fixture(scope="module")
def endpoint(tiny: Config, release: "Release", own_events: EventsConfig) -> Iterator[str]:
    from serve.deployment.endpoint import running_endpoint

    served = replace(tiny.serve, port=free_port(), grpc_port=0, timeout_ms=2000, ingress=ScaleConfig(num_cpus=0.1))
    with running_endpoint(replace(tiny, serve=served, events=own_events)) as address:
        yield address


@pytest.fixture(scope="module")
def sweep(root: Path) -> None:
    write_sweep(root)


@pytest.fixture(scope="module")
def address(pages: Pages, endpoint: str, tiny: Config, own_events: EventsConfig, sweep: None) -> Iterator[str]:
    metrics = f"page.metrics=[{','.join(metrics_addresses())}]"
    with pages(
        f"page.endpoint={endpoint}", f"storage.root={tiny.storage.root}", metrics,
        "page.send_events=true", "page.every_s=1", "page.sampled_users=50", f"events.path={own_events.path}",
    ) as running:  # fmt: skip
        yield running


def items(page: "Page", label: str = "answer, best first") -> list[str]:
    found: list[str] = page.get_by_label(label).locator("li .id").all_inner_texts()
    return found


def test_answers(chromium: "Browser", address: str, known_user: str, tmp_path: Path) -> None:
    with opened(chromium, address, "/") as page:  # one click away: a user is there already
        page.get_by_label("answer, best first").wait_for()
        page.get_by_label("user id").fill(known_user)
        page.get_by_label("users found").get_by_role("button").first.click()
        page.wait_for_url(f"**user={known_user}**")
        wait_until(lambda: known_user in page.get_by_label("history, latest first").locator("..").inner_text())
        taken = page.get_by_label("history, latest first").locator("li:not(.event) .soft").all_inner_texts()
        assert re.match(r"20\d\d-\d\d-\d\d \d\d:\d\d", taken[0])
        assert taken == sorted(taken, reverse=True)
        before = items(page)
        assert len(before) == 10
        assert page.get_by_label("time per stage").get_attribute("aria-label").count(" ms") >= 3  # type: ignore[union-attr]
        examine(page, "answers", tmp_path)
        page.get_by_label("items", exact=True).fill("4")
        wait_until(lambda: items(page) == before[:4])
        page.get_by_text("this request as curl and Python").click()
        assert '"k": 4' in page.locator("pre.code").first.inner_text()
        page.get_by_role("button", name="click", exact=True).first.click()  # the event changes the list
        wait_until(lambda: before[0] not in items(page))
        assert before[0] in page.get_by_label("history, latest first").locator("li.event .id").all_inner_texts()


def test_a_filter_built_from_the_features(chromium: "Browser", address: str, known_user: str) -> None:
    with opened(chromium, address, f"/?user={known_user}&k=5") as page:
        page.get_by_label("answer, best first").wait_for()
        page.get_by_text("add a filter").click()
        page.get_by_role("button", name="add", exact=True).click()
        page.get_by_text("filter: 1 condition").wait_for()
        assert "filter=" in page.url
        [condition] = json.loads(page.evaluate("new URL(location).searchParams.get('filter')"))
        wanted = condition["value"][0] if isinstance(condition["value"], list) else condition["value"]
        assert all(str(wanted) in said for said in page.locator(".items .what").all_inner_texts())
        page.get_by_role("button", name="remove").click()
        wait_until(lambda: "filter=" not in page.evaluate("location.href"))  # page.url waits for events


@pytest.mark.parametrize("name", ["curl", "Python"])
def test_what_is_copied_asks_for_what_is_shown(
    chromium: "Browser", address: str, known_user: str, name: str, tmp_path: Path
) -> None:
    with opened(chromium, address, f"/?user={known_user}&k=3") as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_label("answer, best first").wait_for()
        page.get_by_text("this request as curl and Python").click()
        page.get_by_role("button", name=f"copy {name}").click()
        page.get_by_role("button", name="copied").wait_for()
        copied, shown = page.evaluate("navigator.clipboard.readText()"), items(page)
    command = ["bash", "-c", copied] if name == "curl" else [sys.executable, "-c", copied]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    lines = said.splitlines()
    answered = [line.split()[0] for line in lines] if name == "Python" else [i["id"] for i in json.loads(said)["items"]]
    assert answered == shown


def test_a_degraded_answer_says_why(chromium: "Browser", address: str, known_user: str) -> None:
    with opened(chromium, address, f"/?user={known_user}&timeout_ms=1") as page:
        page.locator(".badge", has_text="degraded").wait_for()
        page.locator(".badge", has_text="late").first.wait_for()
        assert len(items(page)) == 10


def test_side_by_side(chromium: "Browser", address: str, known_user: str, tmp_path: Path) -> None:
    with opened(chromium, address, f"/side-by-side?user={known_user}") as page:
        page.locator("ol.items.short").nth(1).wait_for()
        page.get_by_role("button", name="compare for").click()
        page.get_by_text("Overlap of the first 10").wait_for()
        page.locator(".plot canvas").wait_for()
        page.wait_for_timeout(500)
        examine(page, "side-by-side", tmp_path)


def test_items(chromium: "Browser", address: str, known_user: str, tmp_path: Path) -> None:
    with opened(chromium, address, "/items") as page:
        page.get_by_label("similar items, nearest first").wait_for()
        page.get_by_label("title or id").fill("i00007")
        wait_until(lambda: items(page, "items found") == ["i00007"])
        page.get_by_label("items found").get_by_role("link").click()
        page.wait_for_url("**item=i00007**")
        page.get_by_label("similar items, nearest first").wait_for()
        page.get_by_role("button", name="to whom of").click()
        page.get_by_text("users with a history get it").wait_for()
        page.get_by_label("user on the map").fill(known_user)
        page.locator(".plot.tall canvas").wait_for()
        page.wait_for_timeout(500)
        examine(page, "items", tmp_path)
        for feature in ("", "genres"):
            page.get_by_label("colour").click()
            page.get_by_role("option", name=feature or "none", exact=True).click()
            page.locator(f".plot.tall[aria-label*='items by {feature or 'nothing'}']").wait_for()
            groups = page.evaluate(GROUPS)
            coloured = {name: number for name, number in groups.items() if name not in MARKED}
            assert sum(coloured.values()) == 200 and (len(coloured) > 1) is bool(feature), groups


def test_releases(chromium: "Browser", address: str, release: "Release", tmp_path: Path) -> None:
    with opened(chromium, address, "/releases") as page:
        page.get_by_role("link", name=release.id).wait_for()
        page.locator(".plot canvas").first.wait_for()
        page.wait_for_timeout(500)
        page.get_by_text("read it").click()
        assert "Intended use" in page.locator("pre.card-text").inner_text()
        examine(page, "releases", tmp_path)


@pytest.mark.slow
def test_a_canary_beside_control(
    chromium: "Browser", address: str, endpoint: str, release: "Release", tiny: Config, tmp_path: Path
) -> None:
    from serve.rollout.promotion import promote

    registry = ReleaseRegistry.of(Folder.of(tiny.storage.root))
    shutil.copytree(release.parts.folder.path, registry.path("canary").path)
    try:
        with ThreadPoolExecutor(1) as apart:  # the browser's event loop is in the way of another one in this thread
            apart.submit(promote, tiny.index, registry, "canary", 60, lambda _: None, percent=50).result()
        with opened(chromium, address, "/releases") as page, RecommendClient(endpoint) as client:
            page.get_by_role("heading", name=f"Experiment canary-canary: control is {release.id}").wait_for()
            table = page.get_by_label("by its exposures so far")
            for number in range(60):
                client.recommend(user_id=f"u{number:05}")

            def answers() -> list[int]:
                return [int(row.locator("td").nth(2).inner_text()) for row in table.locator("tbody tr").all()]

            wait_until(lambda: sum(answers()) == 60, 60)
            assert min(answers()) > 10
            control, canary = (row.locator("td").all_inner_texts() for row in table.locator("tbody tr").all())
            assert (control[0], control[4], canary[0]) == ("control", "", "canary")
            assert re.fullmatch(r"\+0\.00% \(-\d+\.\d\d% to \+\d+\.\d\d%\)", canary[4])
            examine(page, "canary", tmp_path)
            registry.promote(release.id)
            wait_until(lambda: not table.is_visible(), 30)
    finally:
        registry.promote(release.id)
        registry.path("canary").delete()


def test_live(chromium: "Browser", address: str, endpoint: str, known_user: str, tmp_path: Path) -> None:
    with opened(chromium, address, "/live") as page:
        ask_until_drawn(page, endpoint, known_user)
        page.wait_for_timeout(500)
        examine(page, "live", tmp_path)


def test_sweeps(chromium: "Browser", address: str, tmp_path: Path) -> None:
    with opened(chromium, address, "/sweeps") as page:
        page.get_by_text("Learning curves").wait_for()
        page.locator(".plot canvas").nth(1).wait_for()
        page.wait_for_timeout(500)
        assert "model.embedding_dim=32" in page.locator("pre.code").first.inner_text()
        examine(page, "sweeps", tmp_path)
        assert finds_an_emptied_plot(page)


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 400), ("dark", 1280), ("dark", 400)])
@pytest.mark.parametrize("view", VIEWS)
def test_every_view_in_the_dark_and_on_a_telephone(
    chromium: "Browser",
    address: str,
    endpoint: str,
    known_user: str,
    view: str,
    scheme: str,
    width: int,
    tmp_path: Path,
) -> None:
    with opened(chromium, address, VIEWS[view].format(user=known_user), width, scheme) as page:
        page.wait_for_load_state("networkidle")
        if view == "live":
            ask_until_drawn(page, endpoint, known_user)
        page.locator(".view .items li, .view .plot canvas").first.wait_for()
        page.wait_for_timeout(2000)
        examine(page, f"{view}-{scheme}-{width}", tmp_path)
