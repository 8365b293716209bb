"""The throughput of an endpoint without and with a page open in a browser, which polls its metrics."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from data.cluster.machine import MachineLacks, wrk_command
from tests.benchmarks.harness.servers import free_port, server
from tests.benchmarks.harness.wrk import load
from tests.serve.viewer.conftest import running_page

TRAINED = (
    "tracking=off", "data.source.num_users=2000", "data.source.num_items=2000", "train.epochs=1",
    "model.embedding_dim=32", "gate.max_mean_cosine=0.9",
)  # fmt: skip

CLIENTS = 16


def throughput(folder: Path, rounds: int, seconds: int) -> tuple[list[float], list[float]] | str:
    """Returns requests per second of each round, alone and with the page open; or why they cannot be measured."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        return "there is no Chromium (apt-get install chromium)"
    try:
        wrk_command()
    except MachineLacks as e:
        return str(e)
    root, port = f"storage.root={folder}", free_port()
    demo = [sys.executable, "-m", "serve.demo", root, *TRAINED, "demo.wait=false", f"serve.port={port}"]
    subprocess.run(demo, check=True, stdout=subprocess.DEVNULL)
    alone, beside = [], []
    with server("serve.run", [root, f"serve.port={port}"], port, folder / "endpoint.log") as address:
        load(address, 2000, 10, CLIENTS, seconds)  # warm
        for _ in range(rounds):
            alone.append(load(address, 2000, 10, CLIENTS, seconds).good_per_s)
            with _page_open(chromium, root, address):
                beside.append(load(address, 2000, 10, CLIENTS, seconds).good_per_s)
    return alone, beside


@contextmanager
def _page_open(chromium: str, root: str, endpoint: str) -> Iterator[None]:
    """The page with its live view in a browser as long as the block lasts."""
    from playwright.sync_api import sync_playwright

    with running_page(f"page.endpoint={endpoint}", root) as address, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"{address}/live")
        page.get_by_text("Answers per second").wait_for()
        yield
        browser.close()
