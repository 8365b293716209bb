"""What `serve.manifests` makes of overrides."""

from collections.abc import Callable
from functools import cache

import pytest

from conf.schema import load
from serve.manifests import deployed
from serve.operations.kubernetes.deployed import Deployed

ON_KUBERNETES = ("storage.root=s3://bucket/twotower", "index.uri=http://milvus:19530", "auth=keys")


@pytest.fixture(scope="session")
def deploy() -> Callable[..., Deployed]:
    """Returns what is deployed with some overrides, on an object store and a Milvus server."""

    @cache
    def of(*overrides: str) -> Deployed:
        whole = [*ON_KUBERNETES, *overrides]
        return deployed(load(whole), whole)

    return of
