"""The sections of the root config that an endpoint needs."""

from typing import Protocol

from data.artifacts.folders import StorageConfig
from serve.access.config import AuthConfig
from serve.deployment.settings import ServeConfig
from serve.events.config import EventsConfig
from serve.experiments.canary_analysis import GuardConfig
from serve.index.config import IndexConfig


class EndpointConfig(Protocol):
    """The sections of the root config that an endpoint needs."""

    @property
    def storage(self) -> StorageConfig: ...
    @property
    def index(self) -> IndexConfig: ...
    @property
    def serve(self) -> ServeConfig: ...
    @property
    def auth(self) -> AuthConfig: ...
    @property
    def guard(self) -> GuardConfig: ...
    @property
    def events(self) -> EventsConfig: ...
