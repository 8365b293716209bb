"""Starting the endpoint: what stops it, each with one clear line, and where it listens."""

import socket
from dataclasses import replace

import psutil
import pytest

from conf.schema import Config
from serve.index import IndexUnavailable
from serve.release import Release, ReleaseError
from serve.run import running
from serve.settings import ScaleConfig

HAPROXY = {8404, 9101}
"""Where Ray's HAProxy shows its statistics and metrics, on all interfaces; the README says so."""


def of_ray(process: psutil.Process) -> bool:
    """Ray's processes carry its name; HAProxy's configuration lies in a folder of Ray Serve's."""
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return "ray" in command.lower() or "haproxy" in command


def starting(config: Config) -> None:
    with running(config):
        raise AssertionError("it started")


def test_no_release_is_live(tiny: Config, ray_session: None, tmp_path) -> None:
    elsewhere = replace(tiny, storage=replace(tiny.storage, root=str(tmp_path)))
    with pytest.raises(ReleaseError, match=r"no release is live: run python -m serve\.publish"):
        starting(elsewhere)


def test_the_port_is_taken(tiny: Config, release: Release) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(OSError, match=rf"serve\.port: 127\.0\.0\.1:{port} is in use .* pass serve\.port="):
            starting(replace(tiny, serve=replace(tiny.serve, port=port)))


def test_milvus_cannot_be_reached(tiny: Config, release: Release, free_port: int) -> None:
    nowhere = replace(tiny.index, uri="http://127.0.0.1:1")
    with pytest.raises(IndexUnavailable, match=r"index\.uri: no Milvus at"):
        starting(replace(tiny, index=nowhere, serve=replace(tiny.serve, port=free_port)))


def test_everything_listens_on_loopback(tiny: Config, release: Release, free_port: int) -> None:
    served = replace(tiny.serve, port=free_port, ingress=ScaleConfig(num_cpus=0.1))
    with running(replace(tiny, serve=served)):
        ours = {psutil.Process().pid} | {p.pid for p in psutil.process_iter() if of_ray(p)}
        listening = {
            (c.laddr.ip, c.laddr.port)
            for c in psutil.net_connections("tcp")
            if c.status == psutil.CONN_LISTEN and c.pid in ours
        }
    assert any(port == free_port for _, port in listening)
    assert {port for ip, port in listening if ip not in ("127.0.0.1", "::1", "::ffff:127.0.0.1")} <= HAPROXY
