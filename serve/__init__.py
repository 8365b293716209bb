"""Releases and the endpoint: publish a checkpoint as a release, make it live, and answer requests by it.

Ray Serve and gRPC read their settings from the environment when they are imported, so these are set here, before
anything can import them. A variable that is already set keeps its value: `RAY_SERVE_ENABLE_HA_PROXY=0` turns HAProxy
off.
"""

import os

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")  # its handlers abort processes that are just being started
os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")
os.environ.setdefault("RAY_SERVE_HAPROXY_NBTHREAD", "1")  # Ray's four compete with the replicas where cores are few
os.environ.setdefault("RAY_SERVE_HAPROXY_METRICS_ENABLED", "0")  # has each request logged and parses that in Python
os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "2")  # 30 is for load balancers further away
os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "30")  # HAProxy needs more than 5 on a busy machine
os.environ.setdefault("RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE", "1")  # a degraded answer is told of when it happens
# Seconds between reports of load; with 10, autoscaling hears of a rush when it is over.
os.environ.setdefault("RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "1")
os.environ.setdefault("RAY_SERVE_HANDLE_AUTOSCALING_METRIC_PUSH_INTERVAL_S", "1")
