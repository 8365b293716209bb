"""What several folders of tests share: one Ray session, and small artifacts built once by the real code."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("RAY_AUTH_MODE", "token")  # before anything imports Ray
os.environ.setdefault("WANDB_SILENT", "true")
os.environ.setdefault("USER_HASH_KEY", "a key of the tests")

import pytest
from filelock import FileLock

from conf.schema import Config, load
from data.artifacts.folders import Folder
from data.cluster.session import ClusterConfig, connect
from tests.collector import Collector
from tests.reporting.skipping import SkipReporter, skip

if TYPE_CHECKING:
    from data.dataset.prepared import PreparedDataset
    from towers.checkpoint.checkpoint import Checkpoint

TINY = (
    "tracking=off",
    "data.source.num_users=300",
    "data.source.num_items=200",
    "data.source.num_clusters=10",
    "data.source.interactions_per_user=20",
    "model.embedding_dim=16",
    "train.epochs=4",
    "train.batch_size=256",
    "loss.num_uniform=64",
)
"""Overrides for a log that prepares and trains in seconds."""


def pytest_configure(config: pytest.Config) -> None:
    # Before anything imports torch. Threads that wait for each other spin, and several processes of the tests share the
    # cores: small trainings take up to ten times as long with a thread for each core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config.pluginmanager.register(SkipReporter())


@pytest.fixture(scope="session")
def collector() -> Collector:
    """Where replicas send their spans."""
    collector = Collector()
    os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.address
    os.environ["OTEL_BSP_SCHEDULE_DELAY"] = "500"  # ms between batches
    return collector


@pytest.fixture(scope="session")
def ray_session(collector: Collector) -> Iterator[None]:
    """A local Ray with two CPUs, as serve.run starts it."""
    import ray

    restart_ray()
    yield
    ray.shutdown()


def restart_ray() -> None:
    """Ends the session's Ray, if there is one, and starts it as the environment says."""
    import ray

    from data.cluster.ray_compatibility.serve import runtime_env
    from serve.deployment.settings import ScaleConfig

    ray.shutdown()
    connect(ClusterConfig(num_cpus=2, dashboard=False), runtime_env(ScaleConfig().in_flight))


@pytest.fixture(scope="session")
def tiny_overrides() -> tuple[str, ...]:
    return TINY


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The storage root of the session's shared artifacts."""
    return tmp_path_factory.mktemp("var")


@pytest.fixture(scope="session")
def tiny(root: Path) -> Config:
    closer = "gate.max_mean_cosine=0.7"  # in 16 dimensions, vectors are closer to each other
    patient = "events.state_ms=5000"  # on a busy machine too, no answer is degraded because the state was late
    return load([*TINY, f"storage.root={root}", closer, patient])


@contextmanager
def built_once(root: Path, kind: str) -> Iterator[None]:
    """Copies what another process of this run of tests has built of this kind, or keeps what is built here for it.

    The processes share the folder that the environment variable SHARED_ARTIFACTS names, such as in `make test`.
    """
    shared = os.environ.get("SHARED_ARTIFACTS")
    if not shared:
        yield
        return
    built = Path(shared) / kind
    with FileLock(f"{built}.lock"):
        exists = built.exists()
        if exists:
            shutil.copytree(built, root / kind, dirs_exist_ok=True)
        yield
        if not exists:
            shutil.copytree(root / kind, built)


@pytest.fixture(scope="session")
def dataset(ray_session: None, tiny: Config, root: Path) -> "PreparedDataset":
    from data.dataset.preparation import prepare

    with built_once(root, "datasets"):
        return prepare(tiny.data, Folder.of(tiny.storage.root))


@pytest.fixture(scope="session")
def checkpoint(tiny: Config, dataset: "PreparedDataset", root: Path) -> "Checkpoint":
    """A checkpoint trained by Ray Train on the tiny log."""
    from towers.training.fit import train

    with built_once(root, "checkpoints"):
        return train(tiny, dataset, Folder.of(tiny.storage.root))


@pytest.fixture(scope="session")
def s3_options() -> Iterator[str]:
    """The query of URIs by which pyarrow and obstore speak with an S3 of this process (moto), over HTTP."""
    import logging

    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"endpoint_override={host}:{port}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    server.stop()


@pytest.fixture
def bucket(s3_options: str) -> Folder:
    """An empty folder of an object store."""
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    folder = Folder.of(f"s3://key:secret@{name}/root?{s3_options}")
    folder.filesystem.create_dir(name)
    return folder.create()


SERVER_PYTHON = Path(os.environ.get("MILVUS_SERVER_PYTHON", ".venv-milvus/bin/python"))
"""An interpreter with milvus==2.3.5 installed; `make milvus-server` makes one."""

SERVE_MILVUS = """
import json, sys
from milvus import MilvusServer
server = MilvusServer(debug=False)
for name, value in json.loads(sys.argv[2]).items():
    server.config.set(name, value)
server.set_base_dir(sys.argv[1])
server.start()
print(server.listen_port, flush=True)
sys.stdin.read()
server.stop()
"""


@contextmanager
def serving_milvus(folder: Path, python: Path, **settings: object) -> Iterator[str]:
    """A real Milvus 2.3.5 standalone server as long as the block lasts; yields its port."""
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [str(python), "-c", SERVE_MILVUS, str(folder / "data"), json.dumps(settings)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    if not port:
        pytest.fail(f"the Milvus server did not start: {(folder / 'log').read_text()[-2000:]}")
    try:
        yield port
    finally:
        process.stdin.close()
        process.wait(timeout=60)


@pytest.fixture(scope="session")
def milvus_python() -> Path:
    """What can run a Milvus server."""
    if not SERVER_PYTHON.exists():
        skip(f"there is no Milvus server ({SERVER_PYTHON})", "make milvus-server, then the same again")
    return SERVER_PYTHON


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory: pytest.TempPathFactory, milvus_python: Path) -> Iterator[str]:
    """The address of a server, started for the session."""
    with serving_milvus(tmp_path_factory.mktemp("milvus-server"), milvus_python) as port:
        yield f"http://127.0.0.1:{port}"
