"""The limits of requests, which the endpoint and its clients check alike."""

MAX_K = 100
"""Most items in one answer."""

MAX_ID = 256
"""Most characters of an id."""

MAX_BATCH = 64
"""Most requests in one batch."""

MAX_BODY_BYTES = 65_536
"""Larger request bodies are answered with 413 before they are parsed."""

MAX_BODY_S = 5.0
"""Request bodies that take longer than this many seconds to arrive are answered with 408."""

MAX_EVENTS = 500
"""Most events in one request."""

MAX_EVENTS_BYTES = 1_048_576
"""Larger bodies of events are answered with 413.

HAProxy holds back bodies of up to its buffer (BUFFER_BYTES of data/cluster/ray_compatibility/haproxy_template.py) until
they are complete. A larger one is passed on as it arrives, and takes a place of a replica meanwhile, for MAX_BODY_S at
most.
"""

BODIES = {
    "POST /v1/recommend": MAX_BODY_BYTES,
    "POST /v1/recommend/batch": MAX_BODY_BYTES,
    "POST /v1/similar": MAX_BODY_BYTES,
    "POST /v1/events": MAX_EVENTS_BYTES,
}
"""The requests that have a body, by method and path, and the bytes of the largest one. The body of any other request is
not waited for."""
