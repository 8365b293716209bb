"""Logs in any format become canonical tables, and are surveyed for faults."""
