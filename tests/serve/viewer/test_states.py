"""The page where something is amiss: no endpoint, no release, titles that attack, other people's computers."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx
import pytest

from conf.schema import Config
from serve.viewer.beside import page_beside
from serve.viewer.config import PageConfig
from tests.benchmarks.harness.servers import free_port
from tests.serve.viewer.browsing import faults_of_layout, opened, photograph, serious_faults_of_access, wait_until
from tests.serve.viewer.conftest import Pages, answers
from tests.serve.viewer.hostile import HOSTILE, SHORT, hostile_release

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from serve.releases.release import Release

pytestmark = pytest.mark.slow


def answer() -> dict[str, object]:
    items = [
        {
            "id": title[:200], "title": title, "score": -float(rank), "features": {"genres": [title], "studio": title},
            "explanation": {
                "retrieval_rank": rank + 1, "retrieval_score": 0.5, "rerank_score": 0.1,
                "nearest_history": [{"id": title[:200], "cosine": 0.5}],
            },
        }
        for rank, title in enumerate(HOSTILE)
    ]  # fmt: skip
    return {
        "request_id": "r", "release_id": HOSTILE[0], "source": "towers", "degraded": True, "reasons": list(HOSTILE[:2]),
        "unknown_items": list(HOSTILE[:3]), "unknown_context": [], "items": items,
        "timings_ms": dict.fromkeys(HOSTILE, 2.0),
        "explained": {"filter": None, "num_excluded": 0, "num_candidates": 9},
    }  # fmt: skip


class Hostile(BaseHTTPRequestHandler):
    """An endpoint whose every text attacks."""

    def _answer(self, content: object, status: int = 200) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(answer())

    def do_GET(self) -> None:
        event = {
            "item_id": HOSTILE[0],
            "type": HOSTILE[3],
            "time": "2026-01-01T00:00:00Z",
            "value": None,
            "context": {"a": HOSTILE[1]},
        }
        user = {
            "user_id": HOSTILE[0], "events": [event], "seen": [], "counts": {}, "forgotten": None, "release_id": "r",
            "release_history": list(HOSTILE),
        }  # fmt: skip
        self._answer(user)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@contextmanager
def serving_hostile() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()


@pytest.fixture(scope="module")
def bare(pages: Pages, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A page without a release, beside an endpoint that attacks."""
    empty = tmp_path_factory.mktemp("empty")
    nothing = f"page.discovery={empty}/none.json"
    with serving_hostile() as endpoint, pages(f"page.endpoint={endpoint}", f"storage.root={empty}", nothing) as address:
        yield address


def test_hostile_texts_are_text(chromium: "Browser", bare: str, tmp_path: Path) -> None:
    with opened(chromium, bare, f"/?user=u&k={len(HOSTILE)}") as page:
        page.get_by_label("answer, best first").wait_for()
        label = ", ".join(f"{title} 2.0 ms" for title in HOSTILE)
        assert page.locator(".stages").get_attribute("aria-label") == f"time per stage: {label}"
        assert page.locator(".stages").evaluate("e => e.getAttributeNames().sort()") == [
            "aria-label",
            "class",
            "id",
            "role",
        ]
        page.wait_for_timeout(500)
        assert page.evaluate("window.hacked") is None
        shown = page.locator(".items .title").all_inner_texts()
        assert [title.strip() for title in shown] == [title.strip() for title in HOSTILE]
        (long,) = (title for title in page.locator(".items .title").all() if len(title.inner_text()) > 1000)
        row = page.locator(".items li", has=page.locator(".title", has_text=long.inner_text()))
        folded = row.evaluate("e => e.offsetHeight")
        long.focus()
        assert row.evaluate("e => e.offsetHeight") > 4 * folded, "texts have four lines, until one is looked at"
        long.blur()
        assert not page.locator(".view img, .view svg[onload], .view script").count()
        addresses = page.locator(".items a").evaluate_all("all => all.map(a => a.protocol)")
        assert set(addresses) == {"http:"}
        assert not faults_of_layout(page)
        photograph(page, "hostile", tmp_path)


def test_hostile_texts_of_a_release_are_text_in_all_views(
    chromium: "Browser", pages: Pages, ray_session: None, tmp_path: Path
) -> None:
    with ThreadPoolExecutor(1) as apart:  # the browser's event loop is in the way of another one in this thread
        config = apart.submit(hostile_release, tmp_path).result()
    user = quote(f"{SHORT[0]}0", safe="")
    views = {
        f"/?user={user}": "[aria-label='history, latest first'] li", f"/side-by-side?user={user}": "ol.items.short li",
        f"/items?user={user}&feature=studio": ".plot.tall canvas", "/releases": ".plot canvas",
    }  # fmt: skip
    nowhere = f"page.endpoint=http://127.0.0.1:{free_port()}"
    with pages(nowhere, f"storage.root={config.storage.root}", "page.sampled_users=50") as address:
        for path, filled in views.items():
            with opened(chromium, address, path) as page:
                page.locator(filled).first.wait_for()
                if path.startswith("/side-by-side"):
                    page.get_by_role("button", name="compare for").click()
                    page.get_by_text("Overlap of the first 10").wait_for()
                page.wait_for_timeout(500)
                assert page.evaluate("window.hacked") is None, path
                assert not page.locator(".view img, .view svg[onload], .view script").count(), path
                assert not faults_of_layout(page), path
                photograph(page, f"hostile-{path.partition('?')[0].strip('/') or 'answers'}", tmp_path)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/?user=u", "Without a release there are no titles"), ("/side-by-side", "no release is live"),
        ("/items", "no release is live"), ("/releases", "There is no release yet"), ("/live", "cluster.dashboard=true"),
        ("/sweeps", "There is no sweep yet"),
    ],
)  # fmt: skip
def test_without_a_release_each_view_says_what_to_do(
    chromium: "Browser", bare: str, tmp_path: Path, path: str, says: str
) -> None:
    with opened(chromium, bare, path) as page:
        page.get_by_text(says).first.wait_for()
        assert not serious_faults_of_access(page)
        assert not faults_of_layout(page)


def test_the_chosen_scheme_stays(chromium: "Browser", bare: str) -> None:
    """It is the browser's at first."""
    is_dark = "document.body.classList.contains('body--dark')"
    with opened(chromium, bare, "/sweeps") as page:
        page.get_by_text("There is no sweep yet").wait_for()
        assert page.evaluate(is_dark) is False
        for chosen in (True, False):
            with page.expect_navigation():
                page.get_by_role("button", name="light / dark").click()
            page.get_by_text("There is no sweep yet").wait_for()
            assert page.evaluate(is_dark) is chosen
            page.get_by_role("link", name="Releases").click()
            page.get_by_role("heading", name="Releases", exact=True).wait_for()
            assert page.evaluate(is_dark) is chosen
            page.go_back()


def test_without_an_endpoint(
    chromium: "Browser", pages: Pages, tiny: Config, release: "Release", known_user: str, tmp_path: Path
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with pages(f"page.endpoint={nowhere}", f"storage.root={tiny.storage.root}", "events=off") as address:
        with opened(chromium, address, f"/?user={known_user}") as page:
            page.get_by_text("is `python -m serve.run` up?").wait_for()
            assert page.get_by_label("history, latest first").locator("li").count()  # by the release
            assert not serious_faults_of_access(page)
            photograph(page, "down", tmp_path)
        with opened(chromium, address, f"/side-by-side?user={known_user}") as page:
            page.locator("ol.items.short").nth(1).wait_for()  # needs no endpoint
        with opened(chromium, address, "/items?item=i00007") as page:
            page.get_by_text("is `python -m serve.run` up?").wait_for()


def test_elsewhere_than_on_loopback_it_needs_its_token(pages: Pages, tmp_path: Path) -> None:
    with pages("page.host=0.0.0.0", f"storage.root={tmp_path}", PAGE_TOKEN="of-my-own") as address:
        plain = address.partition("/?")[0]
        assert address == f"{plain}/?token=of-my-own"
        assert httpx.get(plain, trust_env=False).status_code == 403
        assert httpx.get(address, trust_env=False).status_code == 303


def test_beside_an_endpoint_of_this_process(tmp_path: Path) -> None:
    config = PageConfig(port=free_port())
    with page_beside(config, "http://127.0.0.1:1", str(tmp_path), []) as address:
        assert address == config.address
        wait_until(lambda: answers(address))
        with page_beside(config, "http://127.0.0.1:1", str(tmp_path), []) as said:
            assert "page.port" in said  # it is taken; the endpoint goes on without a page
