"""An ingress replica in the process of a test, without Ray, which is asked as Ray Serve would ask it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.message import Message
from ray.serve._private.common import DeploymentID, ReplicaID
from ray.serve._private.config import DeploymentConfig
from ray.serve.context import _set_internal_replica_context
from ray.serve.schema import ReplicaRank

from data.cluster.ray_compatibility.serve_addresses import LOOPBACK
from serve.access.control import AccessControl, install
from serve.deployment.ingress import RecommenderIngress, api
from serve.deployment.replica import ReplicaSettings


class Call:
    """A call over gRPC, and what the endpoint says of it: a status beside OK, details, and the reply."""

    def __init__(self, key: str | None = None) -> None:
        self._key = key
        self.code: grpc.StatusCode | None = None
        self.details = ""
        self.reply: Any = None

    def invocation_metadata(self) -> list[tuple[str, Any]]:
        return [] if self._key is None else [("authorization", f"Bearer {self._key}")]

    def set_code(self, code: grpc.StatusCode) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details


class IngressAlone:
    """Asks a replica by HTTP through its application, and by gRPC through its methods."""

    def __init__(self, replica: Any) -> None:
        self.replica = replica

    async def http(self, method: str, path: str, key: str | None = None, **content: Any) -> httpx.Response:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = httpx.ASGITransport(api, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
            return await client.request(method, path, headers=headers, **content)

    async def grpc(self, method: str, message: Message, key: str | None = None) -> Call:
        """Calls a method; an error of the replica itself is one that Ray Serve gives the status that is set."""
        call = Call(key)
        try:
            call.reply = await getattr(self.replica, method)(message, call)
        except Exception:
            assert call.code is grpc.StatusCode.INTERNAL
        return call


class Replica(RecommenderIngress.__bases__[0]):  # type: ignore[name-defined, misc]
    """The ingress without what Ray Serve adds to it. It is ended once, and by whoever has started it."""

    def __del__(self) -> None:
        pass


@asynccontextmanager
async def ingress_alone(settings: ReplicaSettings) -> AsyncIterator[IngressAlone]:
    """Starts a replica of the fused topology on the running event loop, and ends it after the block."""
    replica = Replica.__new__(Replica)
    _set_internal_replica_context(
        replica_id=ReplicaID("alone", DeploymentID("Recommender")),
        servable_object=replica,
        _deployment_config=DeploymentConfig(),
        rank=ReplicaRank(rank=0, node_rank=0, local_rank=0),
        world_size=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("serve.access.exposure.endpoint_host", lambda: LOOPBACK)  # Ray Serve does not run
        await replica.__init__(settings)
    try:
        yield IngressAlone(replica)
    finally:
        for task in replica._tasks._tasks:
            task.cancel()
        await super(Replica, replica).__del__()
        install(AccessControl(None))
