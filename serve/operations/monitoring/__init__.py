"""Dashboards and alert rules as code, and the Prometheus of `serve.watch`."""
