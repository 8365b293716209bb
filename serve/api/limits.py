"""How the endpoint is laid out, limited and scaled: the values of `serve=fused` and `serve=staged`."""

MAX_K = 100
"""Longest answer."""

MAX_BATCH = 64
"""Most requests in one call."""

MAX_BODY_BYTES = 65_536
"""Larger request bodies get 413, before anything is parsed."""

MAX_BODY_S = 5.0
"""Request bodies that take longer to come in get 408."""
