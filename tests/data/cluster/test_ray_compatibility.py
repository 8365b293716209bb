"""The installed Ray has the private parts that the project relies upon: a failure names the part and what it is for."""

import functools
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from pyarrow import fs
from ray.train import CheckpointConfig, FailureConfig, WorkerGroupError
from ray.train.v2._internal.execution.checkpoint.checkpoint_manager import CheckpointManager
from ray.train.v2._internal.execution.storage import StorageContext

from data.artifacts.errors import ConfigError
from data.artifacts.folders import Folder
from data.artifacts.json_text import DamagedFile
from data.cluster.ray_compatibility import PRIVATE_PARTS, RAY_VERSION, PrivatePart
from data.cluster.ray_compatibility.haproxy_template import BUFFER_BYTES, WAIT_FOR_BODY_S, patched_template
from data.cluster.ray_compatibility.leftovers import IN_HAPROXYS_FOLDER
from data.cluster.ray_compatibility.serve import DEFAULT_IN_FLIGHT, PATCHES, WITHOUT
from data.cluster.ray_compatibility.train import failure_policy, replacing_snapshots, saved_metrics, users_mistake
from serve.api.limits import MAX_BODY_BYTES, MAX_BODY_S
from serve.deployment.settings import ScaleConfig

ROOT = Path(__file__).parents[3]
PRIVATE = re.compile(r"ray\.[\w.]*\b_(private|internal)\b|ray\.serve\.context import _")


def test_the_installed_version_is_the_one_that_it_was_written_for() -> None:
    assert ray.__version__.startswith(f"{RAY_VERSION}."), (
        f"Ray {ray.__version__} is installed, data/cluster/ray_compatibility was written for {RAY_VERSION}: look at"
        " each of PRIVATE_PARTS, and at its upstream issue, before you change RAY_VERSION"
    )


@pytest.mark.parametrize("part", PRIVATE_PARTS, ids=lambda part: f"{part.module}.{part.name}")
def test_it_is_there(part: PrivatePart) -> None:
    *path, last = part.name.split(".")
    try:
        owner = functools.reduce(getattr, path, importlib.import_module(part.module))
        if not part.is_of_instances:
            getattr(owner, last)
        elif f"self.{last}" not in inspect.getsource(owner.__init__):
            raise AttributeError("__init__ does not set it")
    except (ImportError, AttributeError) as e:
        pytest.fail(f"{part.module}.{part.name} is gone ({e}): without it no {part.used_for}; see {part.upstream}")


def test_the_patched_functions_take_what_they_are_called_with() -> None:
    from ray.serve._private import default_impl, haproxy, replica

    assert list(inspect.signature(replica.add_port_to_grpc_server).parameters)[:2] == ["server", "address"]
    assert list(inspect.signature(default_impl.add_grpc_address).parameters)[:2] == ["grpc_server", "server_address"]
    assert inspect.iscoroutinefunction(haproxy.HAProxyApi._start_and_wait_for_haproxy)


def test_ray_stops_as_it_is_told_to_and_keeps_haproxys_files_where_they_are_looked_for() -> None:
    from ray.serve._private import constants

    assert {"wait_for_processes", "_exiting_interpreter"} <= inspect.signature(ray.shutdown).parameters.keys()
    for name, path in IN_HAPROXYS_FOLDER.items():
        assert getattr(constants, name) == os.environ.get(name, path)


def test_rays_template_has_the_lines_that_are_changed() -> None:
    from ray.serve._private.haproxy_templates import HAPROXY_CONFIG_TEMPLATE

    assert "bind 127.0.0.1:" in patched_template(HAPROXY_CONFIG_TEMPLATE, in_flight=64)


def test_haproxy_waits_for_the_largest_body_as_long_as_a_replica_would() -> None:
    assert BUFFER_BYTES >= MAX_BODY_BYTES + 16_384, "headers come before the body"
    assert WAIT_FOR_BODY_S == MAX_BODY_S


def test_haproxy_admits_by_default_what_an_ingress_replica_takes_by_default() -> None:
    assert ScaleConfig().in_flight == DEFAULT_IN_FLIGHT


def test_replicas_report_their_load_as_often_as_the_autoscaling_config_says() -> None:
    """Ray 2.60 calls that value deprecated, but does not read the environment variables yet that are to replace it."""
    from ray.serve._private.replica import ReplicaMetricsManager

    read = inspect.getsource(ReplicaMetricsManager.start_metrics_pusher)
    assert "autoscaling_config.metrics_interval_s" in read, "set its successor in serve/deployment/declared.py"


def test_each_patched_module_is_among_the_private_parts() -> None:
    assert PATCHES.keys() | WITHOUT.keys() <= {part.module for part in PRIVATE_PARTS}


def test_ray_serve_starts_without_pandas_which_can_be_imported_later() -> None:
    code = """
import sys
from data.cluster.ray_compatibility.serve import prepare_worker
prepare_worker()
import ray.serve, ray.serve._private.replica, ray.serve._private.controller, ray.serve._private.proxy
assert "pandas" not in sys.modules
import pandas
assert pandas.DataFrame({"a": [1]}).shape == (1, 1)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_other_module_uses_private_parts() -> None:
    own = ROOT / "data" / "cluster" / "ray_compatibility"
    files = [
        path
        for package in ("data", "towers", "serve", "conf", "hydra_plugins")
        for path in (ROOT / package).rglob("*.py")
    ]
    of_instances = [part.name.rpartition(".")[2] for part in PRIVATE_PARTS if part.is_of_instances]
    attributes = re.compile(rf"""[."'](?:{"|".join(of_instances)})\b""")
    for path in files:
        text = path.read_text()
        assert own in path.parents or not (PRIVATE.search(text) or attributes.search(text)), path


@pytest.mark.parametrize(
    ("failures", "decision"),
    [
        ({1: ConfigError("train.epochs: 0")}, "RAISE"),
        ({0: RuntimeError("connection closed by peer"), 1: ConfigError("train.epochs: 0")}, "RAISE"),
        ({0: RuntimeError("out of memory")}, "RETRY"),
    ],
    ids=["mistake", "mistake and what it led to", "failure"],
)
def test_a_mistake_that_a_worker_finds_is_not_tried_again(failures: dict[int, Exception], decision: str) -> None:
    error = WorkerGroupError("several lines", failures)
    assert failure_policy(FailureConfig(max_failures=2)).make_decision(error).name == decision
    assert str(users_mistake(error)) == ("train.epochs: 0" if decision == "RAISE" else "None")


@pytest.fixture
def snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointManager:
    """Ray Train's list of saved states of a run, as the controller of a training writes it."""
    kept = CheckpointManager._write_state_to_storage
    monkeypatch.setattr(CheckpointManager, "_write_state_to_storage", kept)  # restored afterwards
    replacing_snapshots().after_controller_start(None)
    storage = StorageContext(str(tmp_path), "run", fs.LocalFileSystem())
    return CheckpointManager(CheckpointConfig(num_to_keep=1), storage)


def test_the_list_of_saved_states_is_replaced_as_a_whole(snapshots: CheckpointManager, tmp_path: Path) -> None:
    """Whoever reads it, or is killed while it is written, has the old one or the new one."""
    snapshots._write_state_to_storage()
    with (tmp_path / "run" / "checkpoint_manager_snapshot.json").open() as before:
        snapshots._current_report_index = 12345
        snapshots._write_state_to_storage()
        assert "12345" not in before.read(), "the file of before is another"
    assert saved_metrics(Folder.of(str(tmp_path / "run"))) is None, "no state was reported yet"
    assert "12345" in (tmp_path / "run" / "checkpoint_manager_snapshot.json").read_text()


def test_a_list_that_was_cut_is_told_with_its_cure(snapshots: CheckpointManager, tmp_path: Path) -> None:
    folder = Folder.of(str(tmp_path / "run"))
    assert saved_metrics(folder) is None
    snapshots._write_state_to_storage()
    content = (tmp_path / "run" / "checkpoint_manager_snapshot.json").read_text()
    for cut in ("", content[:40]):
        (tmp_path / "run" / "checkpoint_manager_snapshot.json").write_text(cut)
        with pytest.raises(DamagedFile, match=rf"remove the folder {folder} to train from the start$"):
            saved_metrics(folder)
