"""Releases: the registry, building, golden queries, the gate, verification, model cards and pruning."""
