"""The state stores, by the name that `events.store` gives them in yaml: one file for each.

A store is a function that opens one (`serve.events.protocol.StateStore`). It registers itself in a file of this folder,
or in any other module that is imported before the config is loaded, in each process:

    @STATE_STORES.register("sqlite")
    def open_sqlite(config: EventsConfig) -> StateStore: ...

What it returns must pass `tests/conformance/test_state_store.py`. Import the libraries that it needs inside the
function: every command reads this folder to check `events.store`.
"""

from collections.abc import Callable
from typing import Any

from data.artifacts.registry import Registry

STATE_STORES: Registry[Callable[..., Any]] = Registry("events.store", __name__)
