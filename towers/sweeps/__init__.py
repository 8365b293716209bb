"""Hyperparameter sweeps on Ray: trials, placement, search, records and leaderboards."""
