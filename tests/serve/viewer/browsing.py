"""What tests of the page do with a browser: open a view, wait, photograph it, and look for faults of its layout."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serve.client import RecommendClient

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PATIENCE_MS = 60_000

PHOTOGRAPHS = "PHOTOGRAPHS"
"""The environment variable with the folder that photographs are kept in, such as docs/pictures."""

CLIPPED = """() => [...document.querySelectorAll(".view *")].filter(e => {
  const style = getComputedStyle(e);
  return e.children.length === 0 && e.textContent.trim() && style.overflowX !== "visible" && style.overflowX !== "auto"
    && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0;
}).map(e => e.textContent.slice(0, 60))"""
"""Texts that are wider than what shows them."""

EMPTY_PLOTS = """() => [...document.querySelectorAll(".plot")].filter(p => p.offsetParent !== null).filter(p => {
  const chart = getElement(p.id.slice(1))?.chart;
  if (!chart || !p.querySelector("canvas")) return true;
  const values = (chart.getOption().series ?? []).flatMap(s => s.data ?? []).map(d => d?.value ?? d);
  return !values.some(v => (Array.isArray(v) ? v.at(-1) : v) != null);
}).map(p => p.getAttribute("aria-label"))"""
"""Plots in which ECharts has no value to draw: axes alone have many colours too, by their smoothed edges."""

EMPTIED = """() => {
  const p = [...document.querySelectorAll(".plot")].find(p => p.offsetParent !== null);
  getElement(p.id.slice(1)).chart.setOption({series: []}, {replaceMerge: ["series"]});
  return p.getAttribute("aria-label");
}"""
"""Takes the values out of the first plot, whose axes stay, and returns what it says that it shows."""

GROUPS = """() => {
  const plot = document.querySelector(".plot.tall");
  return Object.fromEntries(getElement(plot.id.slice(1)).chart.getOption().series.map(s => [s.name, s.data.length]));
}"""
"""The number of points of each group of the map of items."""


def wait_until(holds: Callable[[], Any], seconds: float = 60) -> None:
    """Waits until something holds."""
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.1)


@contextmanager
def opened(
    browser: "Browser", address: str, path: str = "/", width: int = 1280, scheme: str = "light"
) -> Iterator["Page"]:
    """Opens a view; at the end, nothing may have come from elsewhere, and no script may have failed."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if _is_here(request.url, address) else faults.append(request.url))
    page.goto(address.rstrip("/") + path, wait_until="load")
    yield page
    assert not faults, faults
    context.close()


def _is_here(url: str, address: str) -> bool:
    host = address.partition("://")[2].partition("/")[0]
    return url.startswith(("data:", "blob:")) or url.partition("://")[2].partition("/")[0] == host


def photograph(page: "Page", name: str, tmp_path: Path) -> Path:
    """Keeps a picture of the whole page, in few colours, and returns its file."""
    from PIL import Image

    folder = Path(os.environ.get(PHOTOGRAPHS, "") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.png"
    page.screenshot(path=file, full_page=True, animations="disabled")
    Image.open(file).convert("RGB").quantize(96, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
        file, optimize=True
    )
    return file


def ask_until_drawn(page: "Page", endpoint: str, user: str) -> None:
    """Asks the endpoint until the live view shows its answers."""
    plot = page.get_by_label("Answers per second, last hour")

    def is_drawn() -> bool:
        client.recommend(user_id=user)
        return plot.is_visible() and re.search(r"\bok (0\.0*)?[1-9]", page.locator(".view").inner_text()) is not None

    with RecommendClient(endpoint) as client:
        wait_until(is_drawn, 120)


def faults_of_layout(page: "Page") -> list[str]:
    """Returns what is wrong with how a page looks: wider than the window, clipped texts, empty plots."""
    wider = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    found = [f"{wider} pixels wider than the window"] if wider > 0 else []
    found += [f"clipped: {said}" for said in page.evaluate(CLIPPED)]
    return found + [f"empty plot: {title}" for title in page.evaluate(EMPTY_PLOTS)]


def serious_faults_of_access(page: "Page") -> list[str]:
    """Returns what axe-core finds that is serious or critical."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]


def check(page: "Page") -> None:
    """Nothing is clipped, empty, or out of reach of a keyboard or a screen reader."""
    assert not faults_of_layout(page)
    assert not serious_faults_of_access(page)


def examine(page: "Page", name: str, tmp_path: Path) -> None:
    """Checks a view, and keeps a picture of it."""
    check(page)
    photograph(page, name, tmp_path)


def finds_an_emptied_plot(page: "Page") -> bool:
    """Takes the values out of the first plot, and returns whether that is found."""
    emptied = page.evaluate(EMPTIED)
    return faults_of_layout(page) == [f"empty plot: {emptied}"]
