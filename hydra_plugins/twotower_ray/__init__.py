"""Hydra plugins: `hydra/launcher=ray` and `hydra/sweeper=optuna`."""
