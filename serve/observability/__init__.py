"""Metrics, structured logs and traces of the endpoint."""
