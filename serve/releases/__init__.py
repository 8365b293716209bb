"""Releases: the registry and the live pointer, building, golden queries, the gate, verification, cards and pruning."""
