"""The limits of requests, which the endpoint and its clients check alike."""

MAX_K = 100
"""Most items in one answer."""

MAX_BATCH = 64
"""Most requests in one batch."""

MAX_BODY_BYTES = 65_536
"""Larger request bodies are answered with 413 before they are parsed."""

MAX_BODY_S = 5.0
"""Request bodies that take longer than this many seconds to arrive are answered with 408."""
