"""Where the gRPC servers of Ray Serve's processes listen; Ray binds all of them to all interfaces.

- Those for calls between deployments, which take pickled requests, listen on the node's own address (loopback for a Ray
  that `data.cluster.session` starts).
- Those for gRPC from outside, of replicas and of Ray Serve's own proxy, listen on loopback, by which HAProxy calls the
  replicas of its own node, and on the node's own address, unless the endpoint's host is loopback: then nobody else
  reaches them, as nobody else reaches HTTP.
"""

from typing import Any

from data.cluster.loopback import is_loopback

LOOPBACK = "127.0.0.1"

ALL_INTERFACES = "[::]"


def listen_on_own_address(replica: Any) -> None:
    """Binds the servers for calls between deployments to the node's own address."""
    add_port = replica.add_port_to_grpc_server
    replica.add_port_to_grpc_server = lambda server, address: add_port(
        server, address.replace(ALL_INTERFACES, _node_address())
    )


def listen_nearby(default_impl: Any) -> None:
    """Binds the servers for gRPC from outside to loopback and, where the endpoint's host is not, to the node's address.

    HAProxy, which is in front of them, listens on the endpoint's host itself.
    """
    add_address = default_impl.add_grpc_address

    def add_near(server: Any, address: str) -> None:
        for host in hosts(endpoint_host(), _node_address()):
            add_address(server, address.replace(ALL_INTERFACES, host))

    default_impl.add_grpc_address = add_near


def hosts(endpoint: str | None, node: str) -> list[str]:
    """Where a server for gRPC from outside listens.

    Args:
        endpoint: the host on which the endpoint listens; None means Ray Serve's default, which is loopback.
        node: the node's own address, in brackets if it is of IPv6.
    """
    if endpoint is None or endpoint == "localhost":
        return [LOOPBACK]
    return sorted({LOOPBACK, _in_brackets(endpoint.strip("[]")) if is_loopback(endpoint) else node})


def endpoint_host() -> str | None:
    """The host on which the endpoint's proxies listen, as Serve's controller was told when it started.

    Loopback where it was told none, since no proxy starts then; None where Serve does not run on the Ray of this
    process.
    """
    options = _told("get_http_config")
    if options is None:
        return None
    return LOOPBACK if options.host is None else str(options.host)


def grpc_is_everywhere() -> bool:
    """Whether Serve answers gRPC from outside, and this process binds its servers for it to all interfaces.

    A process does where Ray was started without the hook by which every worker calls `prepare_worker`.
    """
    options = _told("get_grpc_config")
    if options is None or not (options.port > 0 and options.grpc_servicer_functions):
        return False
    from ray.serve._private import default_impl

    return str(default_impl.add_grpc_address.__module__) != __name__


def _told(method: str) -> Any:
    """What Serve's controller was told when it started; None where Serve does not run on the Ray of this process."""
    import ray
    from ray.serve._private.constants import SERVE_CONTROLLER_NAME, SERVE_NAMESPACE

    if not ray.is_initialized():
        return None
    try:
        controller = ray.get_actor(SERVE_CONTROLLER_NAME, namespace=SERVE_NAMESPACE)
    except ValueError:  # there is none
        return None
    return ray.get(getattr(controller, method).remote())


def _node_address() -> str:
    import ray.util

    return _in_brackets(ray.util.get_node_ip_address())


def _in_brackets(address: str) -> str:
    return f"[{address}]" if ":" in address else address
