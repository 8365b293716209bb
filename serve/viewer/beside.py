"""The page in a process of its own beside an endpoint that this process runs."""

import importlib.util
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from serve.viewer.config import PageConfig

INSTALL = 'pip install "twotower-ray[page]"'
"""Command that installs the page's dependency."""

START_S = 60.0
"""Seconds within which the page must have printed its address."""


def is_installed() -> bool:
    """Whether the extra `page` is installed."""
    return importlib.util.find_spec("nicegui") is not None


@contextmanager
def page_beside(config: PageConfig, endpoint: str, storage_root: str, metrics: Sequence[str]) -> Iterator[str]:
    """Runs the page as long as the block lasts.

    Args:
        endpoint: The address of the endpoint.
        storage_root: Where the releases are.
        metrics: Addresses of metrics; the configuration's own win.

    Yields:
        Its address, or a sentence that says why there is none: the endpoint runs without it too.
    """
    if not is_installed():
        yield f"the page is not installed; {INSTALL}"
        return
    addresses = ",".join(config.metrics or metrics)
    command = [
        sys.executable, "-m", "serve.page", f"storage.root={storage_root}", f"page.endpoint={endpoint}",
        f"page.host={config.host}", f"page.port={config.port}", f"page.metrics=[{addresses}]",
        f"page.send_events={config.send_events}".lower(),
    ]  # fmt: skip
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield _first_line(process)
    finally:
        process.terminate()
        process.wait(30)


def _first_line(process: "subprocess.Popen[str]") -> str:
    """The first line of the page's output: its address, or why it cannot start. Later lines are read and discarded."""
    assert process.stdout is not None
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for line in process.stdout or ():
            if lines.qsize() < 2:
                lines.put(line.strip())
        lines.put("")

    threading.Thread(target=read, name="page", daemon=True).start()
    try:
        said = lines.get(timeout=START_S)
    except queue.Empty:
        return f"the page has not started within {START_S:g} s"
    return said.removeprefix("page: ").partition(" (endpoint")[0] or "the page did not start"
