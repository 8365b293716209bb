"""Each view of the page with a catalogue of a million items: LARGE_ITEMS=100000 makes it a smaller one."""

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conf.schema import load
from data.artifacts.folders import Folder
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.harness.servers import free_port, server
from tests.benchmarks.releases.made import made_release
from tests.serve.viewer.browsing import check, opened, photograph, wait_until
from tests.serve.viewer.conftest import Pages

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

ITEMS, USERS = int(os.environ.get("LARGE_ITEMS", "1000000")), 50_000
STARTS_WITHIN_S = 600
LAST = f"i{ITEMS:05d}"


@pytest.fixture(scope="module")
def address(pages: Pages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The page beside an endpoint, on two releases of which one is live."""
    root = tmp_path_factory.mktemp("large")
    overrides = [f"storage.root={root}", f"index.uri={root}/milvus.db", "index.timeout_s=600", "tracking=off"]
    config = load(overrides)
    with ThreadPoolExecutor(1) as apart:  # the browser's event loop is in the way of another one in this thread
        made = [apart.submit(made_release, config, ITEMS, USERS, seed).result() for seed in range(2)]
    ReleaseRegistry.of(Folder.of(str(root))).promote(made[0])
    port = free_port()
    own = [*overrides, f"serve.port={port}", "serve.timeout_ms=2000"]
    with (
        server("serve.run", own, port, root / "endpoint.log", within_s=STARTS_WITHIN_S) as endpoint,
        pages(f"page.endpoint={endpoint}", f"storage.root={root}") as running,
    ):
        yield running


@contextmanager
def shown(browser: "Browser", address: str, path: str, name: str, tmp_path: Path) -> Iterator["Page"]:
    """Opens a view, and at the end looks for faults, photographs it and says how long it took."""
    began = time.monotonic()
    with opened(browser, address, path) as page:
        yield page
        print(f"{name}: {time.monotonic() - began:.1f} s")
        page.wait_for_timeout(500)
        check(page)
        photograph(page, f"large-{name}", tmp_path)


def test_answers(chromium: "Browser", address: str, tmp_path: Path) -> None:
    with shown(chromium, address, "/?user=u00042&k=20", "answers", tmp_path) as page:
        page.get_by_label("answer, best first").wait_for()
        wait_until(lambda: page.get_by_label("answer, best first").locator("li").count() == 20)
        assert page.get_by_label("history, latest first").locator("li").count()


def test_items_are_found_and_mapped(chromium: "Browser", address: str, tmp_path: Path) -> None:
    with shown(chromium, address, f"/items?item={LAST}&user=u00042&feature=category", "items", tmp_path) as page:
        page.locator(".plot.tall canvas").wait_for()
        page.get_by_label("similar items, nearest first").locator("li").first.wait_for()
        page.get_by_label("title or id").fill(f"item {ITEMS // 2}")
        found = page.get_by_label("items found").locator("li .id")
        wait_until(lambda: f"i{ITEMS // 2:05d}" in found.all_inner_texts())


def test_two_releases_side_by_side(chromium: "Browser", address: str, tmp_path: Path) -> None:
    with shown(chromium, address, "/side-by-side?user=u00042", "side-by-side", tmp_path) as page:
        page.locator("ol.items.short").nth(1).locator("li").first.wait_for()
        page.get_by_role("button", name="compare for").click()
        page.get_by_text("Overlap of the first 10").wait_for()
        page.locator(".plot canvas").wait_for()


@pytest.mark.parametrize(
    ("path", "says"),
    [("/releases", "made-"), ("/live", "Answers per second"), ("/sweeps", "There is no sweep yet")],
)
def test_what_does_not_depend_on_the_catalogue(
    chromium: "Browser", address: str, tmp_path: Path, path: str, says: str
) -> None:
    with shown(chromium, address, path, path.strip("/"), tmp_path) as page:
        page.locator(".view").get_by_text(says).locator("visible=true").first.wait_for()
