"""One published and promoted release, and an endpoint on it."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

from conf.schema import Config
from data.artifacts.folders import Folder
from data.cluster.machine import USES_HAPROXY
from serve.deployment.settings import ScaleConfig
from serve.events.config import EventsConfig
from serve.events.decisions.config import DecisionsConfig
from serve.releases.registry import ReleaseRegistry
from tests.benchmarks.harness import servers
from tests.conftest import restart_ray
from tests.serve.waiting import PATIENT

if TYPE_CHECKING:
    from serve.releases.release import Release
    from towers.checkpoint.checkpoint import Checkpoint


@pytest.fixture(scope="session")
def release(tiny: Config, checkpoint: "Checkpoint") -> "Release":
    """The tiny checkpoint, published to Milvus Lite and live."""
    from serve.releases.publish import publish

    storage = Folder.of(tiny.storage.root)
    registry = ReleaseRegistry.of(storage)
    return registry.open(registry.promote(publish(tiny.index, checkpoint, storage)).release)


@pytest.fixture(scope="session")
def free_port() -> int:
    return servers.free_port()


@pytest.fixture(scope="session")
def known_user(release: "Release") -> str:
    """A user with a short history."""
    lengths = release.parts.seen.lengths_U
    row = int(np.flatnonzero(lengths == lengths[lengths > 0].min())[0])
    ids: pa.Array = release.parts.users.ids.ids(np.array([row]))
    return str(ids[0].as_py())


@pytest.fixture(scope="module")
def own_events(tiny: Config, tmp_path_factory: pytest.TempPathFactory) -> EventsConfig:
    """For an endpoint that knows of no events but those of this file's tests: they change what is answered."""
    return replace(tiny.events, path=str(tmp_path_factory.mktemp("state") / "events.sqlite"))


@contextmanager
def without_haproxy() -> Iterator[None]:
    """The session's Ray is started anew with Ray Serve's own proxy as long as the block lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(USES_HAPROXY, "0")
        restart_ray()
        yield
    restart_ray()


@pytest.fixture(scope="module", params=["haproxy", pytest.param("own-proxy", marks=pytest.mark.slow)])
def fused(
    request: pytest.FixtureRequest, tiny: Config, release: "Release", own_events: EventsConfig, free_port: int
) -> Iterator[tuple[str, str]]:
    """An endpoint for one file of tests, behind HAProxy and behind Serve's own proxy: HTTP address and gRPC target."""
    from serve.deployment.endpoint import running_endpoint

    grpc_port = servers.free_port()
    served = replace(
        tiny.serve,
        port=free_port,
        grpc_port=grpc_port,
        **PATIENT,
        ingress=ScaleConfig(num_cpus=0.1),
    )
    recorded = replace(own_events, state_ms=1000, decisions=DecisionsConfig(every_s=0.5))
    with (
        without_haproxy() if request.param == "own-proxy" else nullcontext(),
        running_endpoint(replace(tiny, serve=served, events=recorded)) as address,
    ):
        yield address, f"127.0.0.1:{grpc_port}"
