"""Keeps Ray Serve's replicas off the network: their gRPC servers listen on the node's own address alone.

Ray Serve 2.60 binds each replica's server for calls between deployments, which takes pickled requests, to all
interfaces (ray/serve/_private/replica.py, `_on_initialized`) and has no option for it. Callers dial the node's address:
loopback for a Ray that `conf.session` starts, the cluster's own network otherwise.
"""

from typing import Any

import ray.util
from ray._common.tls_utils import add_port_to_grpc_server
from ray.serve._private import replica


def bind_to_own_address() -> None:
    """Takes effect in the process that calls it; a replica's does so when it imports its deployment."""
    replica.add_port_to_grpc_server = _add_port


def _add_port(server: Any, address: str) -> int:
    return add_port_to_grpc_server(server, address.replace("[::]", ray.util.get_node_ip_address()))
