"""Serves a page where people look at answers, beside a running endpoint: `python -m serve.page`.

It shows what users did and what is offered to them, two releases side by side, items, releases, live metrics and
sweeps. It changes nothing unless page.send_events=true. It asks the states of users who was forgotten, as
serve.recommend does (events.path or events.uri; events=off asks nobody). It listens on loopback; elsewhere
(page.host=0.0.0.0) browsers need the token in the environment variable PAGE_TOKEN or, where that is empty, a new one
that is printed. It needs the extra `page`: pip install "twotower-ray[page]".

Examples:
    python -m serve.page
    python -m serve.page page.endpoint=http://127.0.0.1:9000 page.send_events=true
"""

from typing import TYPE_CHECKING, Any

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from serve.client import AsyncRecommendClient
from serve.viewer.beside import INSTALL, is_installed

if TYPE_CHECKING:
    from conf.schema import Config


def task(config: "Config") -> dict[str, Any]:
    """Serves the page until Ctrl-C."""
    if not is_installed():
        raise ConfigError(f"serve.page: the extra `page` is not installed; {INSTALL}")
    from conf.schema import on_disk
    from serve.viewer.server import page_server
    from serve.viewer.viewer import Viewer

    storage = Folder.of(config.storage.root)
    try:
        endpoint = AsyncRecommendClient(config.page.endpoint, config.page.timeout_s)
    except ValueError as e:
        raise ConfigError(f"{e}") from e
    sweeps = f"{Folder.of(on_disk(config.storage.root)).path}/sweeps"
    events = config.events.on_this_machine()
    page = page_server(Viewer(config.page, endpoint, storage, config.serve.num_candidates, sweeps, events))
    print(f"page: {page.address} (endpoint: {config.page.endpoint}). Stop with Ctrl-C.", flush=True)
    page.run()
    return {"address": page.address}


if __name__ == "__main__":
    from conf.entry import launch

    launch("serve.page")
