"""The server of the page: NiceGUI behind the access guard, by uvicorn, until it is stopped."""

import secrets
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI
from nicegui import ui

from data.artifacts.errors import UserError
from data.artifacts.secrets import secret
from data.cluster.machine import bind_error
from serve.viewer.access import LOOPBACK, AccessGuard, with_token
from serve.viewer.config import PageConfig
from serve.viewer.viewer import Viewer
from serve.viewer.views import register

TOKEN = "PAGE_TOKEN"
"""The environment variable with the token of a page that listens elsewhere than on loopback."""

RECONNECT_S = 30.0
"""Seconds for which the state of a browser's page is kept while its connection is interrupted."""


class PagePortTaken(UserError, OSError):
    """The page cannot listen on its address."""


@dataclass(frozen=True)
class PageServer:
    """A page that is ready to run.

    Attributes:
        address: What to open in a browser, with the token if one is needed.
        server: The server.
    """

    address: str
    server: uvicorn.Server

    def run(self) -> None:
        """Serves until Ctrl-C or SIGTERM."""
        self.server.run()


def page_server(viewer: Viewer) -> PageServer:
    """Builds the server; a process can have one.

    Raises:
        PagePortTaken: page.host and page.port cannot be listened on.
    """
    config = viewer.config
    _check_port(config)
    token = _token(config)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    register(viewer)
    ui.run_with(
        app, title="two-tower", dark=None, language="en-US", tailwind=False, show_welcome_message=False,
        reconnect_timeout=RECONNECT_S,
    )  # fmt: skip
    names = [*LOOPBACK, *config.names, config.host] if config.is_local or config.names else []
    guarded = AccessGuard(app, names, token, config.port)
    server = uvicorn.Server(
        uvicorn.Config(guarded, host=config.host, port=config.port, log_level="warning", lifespan="on")
    )
    return PageServer(with_token(config.address, token), server)


def _token(config: PageConfig) -> str | None:
    """The token that the environment gives; where one is needed and none is given, a new one."""
    given = secret(TOKEN)
    return given or (None if config.is_local else secrets.token_urlsafe(24))


def _check_port(config: PageConfig) -> None:
    if (error := bind_error(config.host, config.port)) is not None:
        raise PagePortTaken(
            f"page.port: {config.host}:{config.port} cannot be listened on ({error.strerror}); pass page.port=..."
        ) from error
