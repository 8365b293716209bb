"""The Ray session of an entry point, and the console that people read."""

import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import ray
import ray.data
from ray._private import ray_constants


@dataclass(kw_only=True, slots=True)
class ClusterConfig:
    """Which Ray to work on.

    Attributes:
        address: of a running cluster; null joins the one that RAY_ADDRESS names, or else starts Ray on this machine.
        num_cpus: of a Ray started here; null means all cores.
        dashboard: start Ray's dashboard, on loopback.
    """

    address: str | None = None
    num_cpus: int | None = None
    dashboard: bool = True


def connect(
    config: ClusterConfig, runtime_env: Mapping[str, object] | None = None, *, log_to_driver: bool = True
) -> None:
    """Joins or starts Ray, unless this process has done so already; `runtime_env` is that of its workers.

    With `log_to_driver` what its workers print is printed here, too.

    A Ray started here asks for its token (RAY_AUTH_MODE, `token` unless set) and listens on loopback alone.

    Raises:
        ConnectionError: nothing answers at the address.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")  # its warnings are about progress bars
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    address = config.address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(
            address=address,
            logging_level=logging.WARNING,
            runtime_env=dict(runtime_env or {}),
            log_to_driver=log_to_driver,
        )
    else:
        _start(config, dict(runtime_env or {}), log_to_driver)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = sys.stderr.isatty()
    context.print_on_execution_start = False


def _start(config: ClusterConfig, runtime_env: dict[str, object], log_to_driver: bool) -> None:
    """Ray has no option for loopback on Linux: it takes the machine's address for 127.0.0.1 (services.py,
    resolve_ip_for_localhost), except where clusters are off, which RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER decides on import.
    """
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 lets any other process starve an endpoint's replicas
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")  # nobody takes this machine away
    ray.init(
        address="local",  # and not whatever was started on this machine by others
        num_cpus=config.num_cpus,
        include_dashboard=config.dashboard,
        logging_level=logging.ERROR,
        runtime_env=runtime_env,
        log_to_driver=log_to_driver,
    )
