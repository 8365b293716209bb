"""The page in a browser beside an endpoint: how soon it shows something, and the throughput that it leaves."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from data.cluster.machine import MachineLacks, wrk_command
from tests.benchmarks.bench_serve import ROOT, K, released
from tests.benchmarks.harness.one_replica import one_replica
from tests.benchmarks.harness.wrk import load
from tests.serve.viewer.conftest import running_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CLIENTS = 16
SETTLED_S = 5.0
"""Seconds after which a page that was opened has drawn what it draws first."""

ELSEWHERE = 19
"""The niceness of the browser, which runs on another machine than the endpoint in earnest."""

PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


@dataclass(slots=True)
class PageLoad:
    """What was measured.

    Attributes:
        alone, beside: Answers per second of each round, without the page and with its live view open.
        paint_ms: Milliseconds until the answers' view first shows something, each time by a browser without a cache.
        answer_ms: Milliseconds until it shows the answer for a user.
    """

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    paint_ms: list[float] = field(default_factory=list)
    answer_ms: list[float] = field(default_factory=list)


def missing() -> str | None:
    """Why nothing can be measured here; None where it can."""
    if _chromium() is None:
        return "there is no Chromium (apt-get install chromium)"
    try:
        wrk_command()
    except MachineLacks as e:
        return str(e)
    return None


def page_load(items: int, rounds: int, seconds: int) -> PageLoad:
    """Measures the page beside an endpoint of one replica."""
    users, found = items // 2, PageLoad()
    released(items, users)
    with one_replica("page-endpoint") as address:
        with _page(address) as (page, browser):
            for _ in range(rounds + 1):
                _open(page, browser, found)
        found.paint_ms, found.answer_ms = found.paint_ms[1:], found.answer_ms[1:]  # the first one warms the page up
        load(address, users, K, CLIENTS, seconds)
        for _ in range(rounds):
            found.alone.append(load(address, users, K, CLIENTS, seconds).good_per_s)
            with _page(address) as (page, browser):
                _give_way()
                tab = browser.new_page()
                tab.goto(f"{page}/live")
                tab.get_by_text("Answers per second").wait_for()
                time.sleep(SETTLED_S)
                found.beside.append(load(address, users, K, CLIENTS, seconds).good_per_s)
    return found


def _open(page: str, browser: "Browser", found: PageLoad) -> None:
    context = browser.new_context()  # without what another has cached
    tab, started = context.new_page(), time.perf_counter()
    tab.goto(page)
    tab.get_by_label("answer, best first").locator("li").first.wait_for()
    found.answer_ms.append(1000 * (time.perf_counter() - started))
    found.paint_ms.append(float(tab.evaluate(PAINT)))
    context.close()


@contextmanager
def _page(endpoint: str) -> Iterator[tuple[str, "Browser"]]:
    """The page of an endpoint, and a browser for it."""
    from playwright.sync_api import sync_playwright

    given = f"page.endpoint={endpoint}", f"storage.root={Path(ROOT).resolve()}", "page.every_s=1"
    with running_page(*given) as page, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=_chromium(), args=["--no-sandbox", "--disable-gpu"])
        yield page, browser
        browser.close()


def _give_way() -> None:
    """The browser's processes, and those that they start, leave the cores to whoever wants them."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "chrom" in process.name():
                process.nice(ELSEWHERE)


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("chromium-browser")
