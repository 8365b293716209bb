"""gRPC listens where HTTP does: on loopback alone where the endpoint's host is loopback."""

import socket
import types
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from data.cluster.ray_compatibility import serve_addresses
from data.cluster.ray_compatibility.serve_addresses import hosts, listen_nearby
from tests.benchmarks.harness import servers

OTHER = "127.0.0.2"
"""Stands for the node's address in the network."""


@pytest.mark.parametrize("host", [None, "localhost", "127.0.0.1", "::1", "[::1]", "127.0.0.9"])
def test_an_endpoint_on_loopback_has_grpc_on_loopback(host: str | None) -> None:
    assert "192.168.1.7" not in hosts(host, "192.168.1.7")
    assert "127.0.0.1" in hosts(host, "192.168.1.7"), "where HAProxy calls replicas"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "gpu7.example.com", ""])
def test_an_endpoint_elsewhere_has_grpc_on_the_nodes_address_too(host: str) -> None:
    assert hosts(host, "192.168.1.7") == ["127.0.0.1", "192.168.1.7"]


@pytest.mark.parametrize(("host", "is_reached"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_server_of_rays(host: str, is_reached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_addresses, "endpoint_host", lambda: host)
    monkeypatch.setattr(serve_addresses, "_node_address", lambda: OTHER)
    part = types.SimpleNamespace(add_grpc_address=lambda server, address: server.add_insecure_port(address))
    listen_nearby(part)
    port, server = servers.free_port(), grpc.server(ThreadPoolExecutor(1))
    part.add_grpc_address(server, f"[::]:{port}")
    server.start()
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        with socket.socket() as asking:
            assert (asking.connect_ex((OTHER, port)) == 0) is is_reached
    finally:
        server.stop(None)
