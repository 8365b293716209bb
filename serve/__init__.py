"""Releases and the endpoint: publish a checkpoint as a release, make it live, and answer requests with it.

Ray Serve and gRPC read their settings from the environment when they are imported, so this module sets them before
anything can import those packages. A variable that is already set keeps its value. Whether HAProxy or Serve's own proxy
takes requests is decided where this process starts Ray (data/cluster/machine.py); the nodes of a cluster have HAProxy.
"""

import os

SETTINGS = {
    "GRPC_ENABLE_FORK_SUPPORT": "0",  # its handlers abort processes that are just starting
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_HAPROXY_NBTHREAD": "1",  # Ray's four compete with the replicas where cores are few
    "RAY_SERVE_HAPROXY_METRICS_ENABLED": "0",  # they log each request and parse the log in Python
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",  # Ray's 30 suits remote load balancers
    "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": "16777216",  # larger ones are refused unread, whoever sends them
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "30",  # HAProxy needs more than 5 on a busy machine
    "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "2",  # a HAProxy that died is replaced after three; Ray's 10 make 30 s
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",  # log degraded answers without a delay
}
"""Environment variables of every process of Ray Serve; the nodes of a cluster have them before Ray starts."""

for _name, _value in SETTINGS.items():
    if _name != "RAY_SERVE_ENABLE_HA_PROXY":
        os.environ.setdefault(_name, _value)
