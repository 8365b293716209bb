"""A page in a process of its own, and Debian's Chromium to open it."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from tests.benchmarks.harness.servers import free_port
from tests.reporting.skipping import skip
from tests.serve.viewer.browsing import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from serve.releases.release import Release

ROOT = Path(__file__).parents[3]

START_S = 120.0

Pages = Callable[..., AbstractContextManager[str]]


@pytest.fixture(scope="module")
def chromium(release: "Release") -> Iterator["Browser"]:
    """Debian's Chromium, headless. It is closed with the module: its event loop would be in the way of other tests.

    The shared release is there before: it cannot be published beside that loop.
    """
    binary = shutil.which("chromium") or shutil.which("chromium-browser")
    if binary is None:
        skip("there is no Chromium", "apt-get install chromium, then the same again")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=binary, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pages() -> Pages:
    """What runs the page as long as a block lasts, given overrides of its config, and yields its address."""
    return running_page


@contextmanager
def running_page(*overrides: str, **environment: str) -> Iterator[str]:
    """Runs `python -m serve.page`; yields the address that it prints."""
    command = [sys.executable, "-m", "serve.page", f"page.port={free_port()}", *overrides]
    process = subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("page: "), said + process.stdout.read()
        address = said.split()[1]
        wait_until(lambda: answers(address), START_S)
        yield address
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False, follow_redirects=True).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
