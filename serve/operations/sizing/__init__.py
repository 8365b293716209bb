"""How many replicas and nodes an endpoint needs, how much memory, and what it costs."""
