"""Releases and the endpoint: publish, promote, retrieve, re-rank, answer.

Ray Serve reads its throughput settings when it is imported, so they are set here, before anything can import it.
`RAY_SERVE_ENABLE_HA_PROXY=0` in the environment turns HAProxy off.
"""

import os

os.environ.setdefault("RAY_SERVE_THROUGHPUT_OPTIMIZED", "1")
os.environ.setdefault("RAY_SERVE_ENABLE_HA_PROXY", "1")
os.environ.setdefault("RAY_SERVE_HAPROXY_METRICS_ENABLED", "0")  # has each request logged and parses that in Python
os.environ.setdefault("RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S", "2")  # 30 is for load balancers further away
