"""Hyperparameter search: the search space, the Optuna study, and asking it for trials."""
