"""The page in a process of its own beside an endpoint that this process runs."""

import importlib.util
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

from serve.viewer.config import PageConfig

INSTALL = 'pip install "twotower-ray[page]"'
"""Command that installs the page's dependency."""

START_S = 60.0
"""Seconds within which the page must have printed its address."""


def is_installed() -> bool:
    """Whether the extra `page` is installed."""
    return importlib.util.find_spec("nicegui") is not None


@contextmanager
def page_beside(
    config: PageConfig,
    endpoint: str,
    storage_root: str,
    metrics: Sequence[str],
    further: Mapping[str, Any] | None = None,
) -> Iterator[str]:
    """Runs the page as long as the block lasts.

    Args:
        endpoint: The address of the endpoint.
        storage_root: Where the releases are.
        metrics: Addresses of metrics; the configuration's own win.
        further: Further values of the config by their dotted keys, which the page is to use too.

    Yields:
        Its address, or a sentence that says why there is none: the endpoint runs without it too.
    """
    if not is_installed():
        yield f"the page is not installed; {INSTALL}"
        return
    config = replace(config, endpoint=endpoint, metrics=config.metrics or list(metrics))
    command = [
        sys.executable,
        "-m",
        "serve.page",
        *page_overrides(config, {"storage.root": storage_root, **(further or {})}),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        yield _first_line(process)
    finally:
        process.terminate()
        process.wait(30)


def page_overrides(config: PageConfig, further: Mapping[str, Any]) -> list[str]:
    """Returns the overrides of `serve.page` that give it every value of a configuration, and further ones."""
    values = {f"page.{one.name}": getattr(config, one.name) for one in fields(config)}
    return [f"{key}={_written(value)}" for key, value in {**values, **further}.items()]


def _written(value: Any) -> str:
    """A value as Hydra reads it in an override; a text is in quotes, with those and backslashes before them escaped."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, str):
        return "'" + re.sub(r"(\\*)('|$)", lambda m: 2 * m[1] + m[2].replace("'", r"\'"), value) + "'"
    return repr(value)


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
