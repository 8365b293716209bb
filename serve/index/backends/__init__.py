"""The index back ends, by the name that `index.kind` gives them in yaml: one file for each.

A back end is a function that opens the items of one release for searching. It registers itself in a file of this
folder, or in any other module that is imported before the config is loaded, in each process:

    @INDEX_BACKENDS.register("replica")
    async def open_replica(config: IndexConfig, items: PublishedItems) -> ItemIndex: ...

What it returns must pass `tests/conformance/test_item_index.py`. Import the libraries that it needs inside the
function: every command reads this folder to check `index.kind`.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from data.artifacts.registry import Registry

INDEX_BACKENDS: Registry[Callable[..., Awaitable[Any]]] = Registry("index.kind", __name__)
