"""Sweeps on Ray: what Hydra's launcher and sweeper (hydra_plugins/twotower_ray) do, and what comes of it."""
