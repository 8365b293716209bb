"""The Ray session that a command works in: it joins a cluster, or starts Ray on this machine."""

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from data.artifacts.bounds import bounded
from data.artifacts.plugins import VARIABLE, shipped
from data.cluster.joining import RayUnavailable, address_to_join
from data.cluster.own_sessions import tidy_at_exit
from data.cluster.ray_compatibility.core import listen_on_loopback
from data.cluster.ray_compatibility.tokens import AUTH_MODE, is_about_token

FINDS_ITSELF_FIRST, SHIPPED = "TWOTOWER_FINDS_ITSELF_FIRST", "shipped"
"""See twotower/own_packages.py."""

_started: list[str] = []
"""Addresses of the Rays that this process has started."""

PASSED_ON = (VARIABLE, FINDS_ITSELF_FIRST)
"""Environment variables that the workers of a cluster elsewhere need as well."""


@dataclass(kw_only=True, slots=True)
class ClusterConfig:
    """Which Ray cluster a command works on.

    Attributes:
        address: host and port of a running cluster's head, or auto for the Ray that runs on this machine. Null means
            what the environment variable RAY_ADDRESS names or, without that, a Ray that is started on this machine.
        num_cpus: number of CPUs of a Ray that is started here; null means all cores.
        dashboard: whether a Ray that is started here has its dashboard, on loopback.
    """

    address: str | None = None
    num_cpus: int | None = bounded(None, at_least=1)
    dashboard: bool = True


def connect(
    config: ClusterConfig,
    runtime_env: Mapping[str, object] | None = None,
    *,
    log_to_driver: bool = True,
    uses_data: bool = True,
) -> None:
    """Joins or starts Ray, unless this process is connected to Ray already.

    A Ray that is started here listens on loopback alone, and its clients need its token (unless the environment
    variable RAY_AUTH_MODE says otherwise); a command on this machine that joins it shows the token by itself.

    Args:
        runtime_env: Ray's runtime environment for the workers.
        log_to_driver: whether what workers print is printed by this process too.
        uses_data: whether this process uses Ray Data, which takes half a second to import.

    Raises:
        RayUnavailable: no cluster answers at the address, or it refuses the token of this process.
        ConfigError: the address is none.
    """
    import ray

    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # its warnings are about progress bars
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if address := _cluster_address(config):
        _join(address_to_join(address), with_own_code(runtime_env or {}), log_to_driver)
    else:
        _start(config, dict(runtime_env or {}), log_to_driver)
    if uses_data:
        _quiet_data()


def _quiet_data() -> None:
    """Ray Data shows progress on terminals alone."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    context.print_on_execution_start = False


def started_here() -> bool:
    """Whether this process has started the Ray that it is connected to, which then has this machine alone."""
    import ray

    return ray.get_runtime_context().gcs_address in _started


def joins_cluster(config: ClusterConfig) -> bool:
    """Whether `connect` joins a cluster that runs, rather than to start Ray on this machine."""
    return bool(_cluster_address(config))


def _cluster_address(config: ClusterConfig) -> str | None:
    return config.address or os.environ.get("RAY_ADDRESS")


def metrics_addresses() -> list[str]:
    """Where each node of the cluster that this process has joined exports its metrics for Prometheus."""
    import ray

    return [f"{node['NodeManagerAddress']}:{node['MetricsExportPort']}" for node in ray.nodes() if node["Alive"]]


def with_own_code(runtime_env: Mapping[str, object]) -> dict[str, object]:
    """A runtime environment for a cluster elsewhere, by which its workers also get the plugins in use, and import them.

    Args:
        runtime_env: has no `py_modules`, or a list of them. Where it has those or a `working_dir`, our own code is sent
            along, and workers take it even where their image has the distribution installed.
    """
    passed_on = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    if FINDS_ITSELF_FIRST in passed_on and {"working_dir", "py_modules"} & set(runtime_env):
        passed_on[FINDS_ITSELF_FIRST] = SHIPPED
    found, variables = dict(runtime_env), runtime_env.get("env_vars") or {}
    if passed_on:
        assert isinstance(variables, Mapping)
        found["env_vars"] = passed_on | dict(variables)
    if plugins := shipped():
        modules = runtime_env.get("py_modules") or []
        assert isinstance(modules, list)
        found["py_modules"] = [*modules, *plugins]
    return found


def _join(address: str, runtime_env: dict[str, object], log_to_driver: bool) -> None:
    """Joins the Ray at an address, as `address_to_join` returns it."""
    import ray

    try:
        ray.init(address=address, logging_level=logging.WARNING, runtime_env=runtime_env, log_to_driver=log_to_driver)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as e:
        if is_about_token(e):
            raise RayUnavailable(
                f"cluster.address: the Ray at {address} asks for a token, and was shown none or another one; export"
                f" {AUTH_MODE}=token, and have its token in RAY_AUTH_TOKEN or in ~/.ray/auth_token"
            ) from e
        if not isinstance(e, ConnectionError):
            raise
        raise RayUnavailable(
            f"cluster.address: no Ray answers at {address} ({e}); start one there, or unset RAY_ADDRESS"
        ) from e


def _start(config: ClusterConfig, runtime_env: dict[str, object], log_to_driver: bool) -> None:
    """Starts Ray on this machine, listening on loopback; it ends with this process, and its sockets are removed."""
    import ray

    listen_on_loopback()
    os.environ.setdefault("RAY_worker_niceness", "0")  # at Ray's default, 15, any other process starves the replicas
    if runtime_env:
        os.environ.setdefault("RAY_prestart_worker_first_driver", "0")  # they have another environment: none is used
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # this machine is not preempted
    started = ray.init(
        address="local",  # never joins a Ray that others started on this machine
        num_cpus=config.num_cpus,
        include_dashboard=config.dashboard,
        logging_level=logging.ERROR,
        runtime_env=_with_this_code(runtime_env),
        log_to_driver=log_to_driver,
    )
    _started.append(started.address_info["gcs_address"])
    tidy_at_exit(started.address_info)


def _with_this_code(runtime_env: dict[str, object]) -> dict[str, object]:
    """Workers import this very code where a clone was moved, or is another than the installed one.

    A setup hook runs before Ray passes on this process's `sys.path`, and workers whose hook fails are started anew for
    ever, without a word.
    """
    if "worker_process_setup_hook" not in runtime_env:
        return runtime_env
    paths = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    variables = runtime_env.get("env_vars") or {}
    assert isinstance(variables, Mapping)
    return {**runtime_env, "env_vars": {**variables, "PYTHONPATH": os.pathsep.join(filter(None, paths))}}
