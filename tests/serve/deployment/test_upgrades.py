"""Changes of an endpoint under load, in short: what `make bench-upgrade` does with 20,000 requests each."""

import shutil
from collections.abc import Iterator

import pytest

from conf.schema import Config
from serve.releases.release import Release
from tests.benchmarks.operations.bench_upgrade import DRILLS, HEAD_DRILL, Endpoint, drill, endpoint, serving
from tests.conftest import TINY
from tests.reporting.skipping import skip

pytestmark = pytest.mark.slow

REQUESTS = 100


@pytest.fixture(scope="module")
def running(tiny: Config, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    if shutil.which("wrk") is None:
        skip("wrk is not installed", "apt-get install wrk, then the same again")
    config = serving(tiny.storage.root, *TINY, "events.state_ms=5000")
    with endpoint(config, tiny.data.source.num_users, tmp_path_factory.mktemp("upgrades")) as running:
        yield running


@pytest.mark.parametrize("name", DRILLS)
def test_no_request_fails(running: Endpoint, name: str) -> None:
    if name == HEAD_DRILL:
        running.ask_node(list(running.cluster.nodes)[-1])
    found = drill(running, DRILLS[name], REQUESTS, round_s=5)
    assert found["requests"] >= REQUESTS
    assert found["failed"] == 0
